#include "cli/refusal.h"

#include "cli/message.h"
#include "cli/processes.h"
#include "daemon/protocol.h"

int refusal_print(int status, const char *text, pid_t pid, const char *command)
{
	struct process child;

	if (status == STATUS_NOT_PYTHON && processes_find_child(pid, &child) == 0)
		message("%s, but its child %d (%s) is: pyprof %s %d", message_text(text),
			(int)child.pid, message_text(child.name), command, (int)child.pid);
	else
		message("%s", message_text(text));
	return status;
}
