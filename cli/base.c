#include "cli/base.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cli/message.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "formats/model.h"

int base_open(struct model **ret, const struct options *o)
{
	struct model_options question;
	char *const paths[] = {(char *)o->base}; /* not written to */
	struct model *base;
	char text[256];
	int status, e;

	options_question(o, &question);
	question.timeline = NULL;
	if (model_new(&base, &question) < 0) {
		message("out of memory");
		return STATUS_FAILED;
	}
	status = recording_replay(paths, 1, NULL, base);
	if (!status) {
		e = model_check(base, text, sizeof(text));
		if (e < 0)
			message("base %s: %s", message_text(o->base), text);
		if (e < 0 && e != -EAGAIN)
			status = STATUS_FAILED;
	}
	if (!status && base->samples == 0) {
		message("base %s has no sample of what was asked for", message_text(o->base));
		status = STATUS_FAILED;
	}
	if (status)
		model_free(base);
	else
		*ret = base;
	return status;
}

static bool has_all_threads(const struct model *m)
{
	uint32_t seen = 0;

	for (uint32_t i = 1; i < m->thread_count; i++)
		seen += m->threads[i].seen;
	for (uint32_t i = 0; i < m->process_count; i++)
		if (m->processes[i].header.all_threads)
			return seen > 1;
	return false;
}

static const char *selected_of(const struct model *m)
{
	return m->process_count && m->processes[0].header.selected[0]
		       ? m->processes[0].header.selected
		       : "all samples";
}

static int refuse_modes(const struct options *o, enum mode mode, enum mode base)
{
	message("base %s is of mode %s, this is of mode %s: they cannot be compared",
		message_text(o->base), mode_names[base], mode_names[mode]);
	return STATUS_FAILED;
}

int base_compare(const struct options *o, const struct model *m, const struct model *base)
{
	if (m->mode != base->mode)
		return refuse_modes(o, m->mode, base->mode);
	if (strcmp(selected_of(m), selected_of(base)) != 0) {
		message("base %s has %s, this has %s: they cannot be compared",
			message_text(o->base), message_text(selected_of(base)),
			message_text(selected_of(m)));
		return STATUS_FAILED;
	}
	if (!o->selected.thread && has_all_threads(m) != has_all_threads(base)) {
		message(has_all_threads(m)
				? "base %s has the main thread only, this has all: --thread makes "
				  "them comparable"
				: "base %s has all threads, this has the main thread only: "
				  "--thread makes them comparable",
			message_text(o->base));
		return STATUS_FAILED;
	}
	return 0;
}

int base_check(const struct options *o)
{
	enum mode mode = o->mode ? o->mode : MODE_WALL;
	struct model *base;
	int status = base_open(&base, o);

	if (status)
		return status;
	if (base->mode != mode)
		status = refuse_modes(o, mode, base->mode);
	model_free(base);
	return status;
}
