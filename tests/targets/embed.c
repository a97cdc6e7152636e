/* embed [--second LIBRARY] SCRIPT [ARGUMENT...]
 *
 * A program that embeds Python and runs SCRIPT. With --second it first loads another libpython
 * that it never initialises, so that two runtimes are mapped and only one is alive.
 *
 * cc -o embed embed.c $(python3-config --cflags --ldflags --embed) -ldl */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	wchar_t **arguments;
	FILE *f;
	int r;

	if (argc > 2 && strcmp(argv[1], "--second") == 0) {
		if (!dlopen(argv[2], RTLD_NOW | RTLD_LOCAL)) {
			fprintf(stderr, "%s\n", dlerror());
			return 1;
		}
		argv += 2;
		argc -= 2;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: embed [--second LIBRARY] SCRIPT [ARGUMENT...]\n");
		return 2;
	}
	f = fopen(argv[1], "r");
	arguments = calloc((size_t)argc, sizeof(*arguments));
	if (!f || !arguments) {
		perror(argv[1]);
		return 1;
	}
	Py_Initialize();
	for (int i = 1; i < argc; i++)
		arguments[i - 1] = Py_DecodeLocale(argv[i], NULL);
	/* The way that every version from 3.8 on has. */
	PySys_SetArgvEx(argc - 1, arguments, 0);
	r = PyRun_SimpleFileEx(f, argv[1], 1);
	return Py_FinalizeEx() < 0 ? 120 : r != 0;
}
