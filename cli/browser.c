#include "cli/browser.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/output.h"

#define MAX_WORDS 32
/* A browser that cannot be shown ends soon, and the next one is tried. */
#define EARLY_END_MS 700

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("/-._~", c));
}

/* file:// and the whole path; NULL when it cannot be had. Freed by the caller. */
static char *make_url(const char *path)
{
	char *real = realpath(path, NULL), *url, *to;

	if (!real)
		return NULL;
	url = malloc(3 * strlen(real) + 8);
	if (url) {
		to = stpcpy(url, "file://");
		for (const char *p = real; *p; p++) {
			if (is_unreserved(*p))
				*to++ = *p;
			else
				to += sprintf(to, "%%%02X", (unsigned char)*p);
		}
		*to = '\0';
	}
	free(real);
	return url;
}

/* The words of one entry of $BROWSER with the URL in the place of %s, or behind them. Splits
 * command in place; argv has MAX_WORDS + 2. False: there is no word. In the child: nothing is
 * freed. */
static bool split_command(char *command, char *url, char **argv)
{
	bool placed = false;
	int n = 0;

	for (char *save = NULL, *word = strtok_r(command, " \t", &save); word && n < MAX_WORDS;
	     word = strtok_r(NULL, " \t", &save)) {
		char *at = strstr(word, "%s"), *made;

		if (at && asprintf(&made, "%.*s%s%s", (int)(at - word), word, url, at + 2) >= 0) {
			word = made;
			placed = true;
		}
		argv[n++] = word;
	}
	if (n && strcmp(argv[n - 1], "&") == 0)
		n--;
	if (n && !placed)
		argv[n++] = url;
	argv[n] = NULL;
	return n > 0;
}

/* What sudo took from the environment and a desktop needs. */
static bool become_user(void)
{
	const struct passwd *user;
	struct stat st;
	char runtime[64];
	uid_t uid;
	gid_t gid;

	if (!output_sudo_ids(&uid, &gid))
		return true;
	user = getpwuid(uid);
	if (user) {
		setenv("HOME", user->pw_dir, 1);
		setenv("USER", user->pw_name, 1);
		setenv("LOGNAME", user->pw_name, 1);
	}
	snprintf(runtime, sizeof(runtime), "/run/user/%u", (unsigned)uid);
	if (stat(runtime, &st) == 0)
		setenv("XDG_RUNTIME_DIR", runtime, 1);
	if ((user ? initgroups(user->pw_name, gid) : setgroups(1, &gid)) < 0)
		return false;
	return setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

static void __attribute__((noreturn)) become_browser(const char *command, char *url)
{
	char *copy = strdup(command), *argv[MAX_WORDS + 2];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
	}
	if (copy && split_command(copy, url, argv) && become_user())
		execvp(argv[0], argv);
	_exit(127);
}

/* Whether it was started and has not failed at once. */
static bool start(const char *command, char *url)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		become_browser(command, url);
	if (pid < 0)
		return false;
	for (int ms = 0; ms < EARLY_END_MS; ms += 10) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0;
		if (done < 0 && errno != EINTR)
			return false;
		poll(NULL, 0, 10);
	}
	return true;
}

/* The entries of $BROWSER, in turn. */
static bool try_variable(const char *browsers, char *url)
{
	char *copy = strdup(browsers);
	bool started = false;

	for (char *save = NULL, *entry = copy ? strtok_r(copy, ":", &save) : NULL;
	     entry && !started; entry = strtok_r(NULL, ":", &save))
		started = start(entry, url);
	free(copy);
	return started;
}

void browser_open(const char *path)
{
	static const char *const desktop[] = {"xdg-open", "x-www-browser"};
	const char *browsers = getenv("BROWSER");
	char *url = make_url(path);
	bool started = false;

	if (!url) {
		message("cannot open %s in a browser: %s", message_text(path), strerror(errno));
		return;
	}
	if (browsers && *browsers)
		started = try_variable(browsers, url);
	for (size_t i = 0; i < sizeof(desktop) / sizeof(desktop[0]) && !started; i++)
		started = start(desktop[i], url);
	if (!started)
		message("there is no browser to open %s with", message_text(url));
	free(url);
}
