#include <inttypes.h>
#include <stdio.h>

#include "formats/gecko.h"

/* What the tables are of: meta.preprocessedProfileVersion, and the version of Firefox' own profiles
 * that this one came after. */
#define PROCESSED_VERSION 57
#define GECKO_VERSION	  31

static const struct {
	const char *name, *color;
} categories[CATEGORIES] = {
	[CATEGORY_OTHER] = {"Other", "grey"},
	[CATEGORY_PYTHON] = {"Python", "yellow"},
	[CATEGORY_NATIVE] = {"Native", "blue"},
	[CATEGORY_GC] = {"GC", "orange"},
	[CATEGORY_GIL] = {"GIL", "green"},
	[CATEGORY_CPU] = {"CPU", "purple"},
	[CATEGORY_CODE] = {"Code Type", "red"},
	[CATEGORY_OPCODES] = {"Opcodes", "magenta"},
	[CATEGORY_EXCEPTION] = {"Exception", "lightblue"},
	[CATEGORY_IDLE] = {"Idle", "transparent"},
	[CATEGORY_TASK] = {"Task", "brown"},
};

static void put_categories(struct gecko *g)
{
	sink_text(g->out, ",\n\"categories\":[");
	for (int i = 0; i < CATEGORIES; i++) {
		sink_text(g->out, i ? "," : "");
		sink_text(g->out, "{\"name\":");
		gecko_put_text(g, categories[i].name);
		sink_text(g->out, ",\"color\":");
		gecko_put_text(g, categories[i].color);
		sink_text(g->out, ",\"subcategories\":[\"Other\"]}");
	}
	sink_byte(g->out, ']');
}

static void put_fact(struct gecko *g, const char *label, const char *text)
{
	gecko_separate(g);
	sink_text(g->out, "{\"label\":");
	gecko_put_text(g, label);
	sink_text(g->out, ",\"format\":\"string\",\"value\":");
	gecko_put_text(g, text);
	sink_byte(g->out, '}');
}

/* What the recording says of itself. */
static void put_facts(struct gecko *g)
{
	const struct model_process *p = &g->m->processes[0];
	char text[160];

	sink_text(g->out, ",\n\"extra\":[{\"label\":\"Recording\",\"entries\":[");
	g->first = true;
	put_fact(g, "Command", p->header.command);
	put_fact(g, "Python", p->header.python);
	put_fact(g, "Host", p->header.host);
	put_fact(g, "Mode", g->m->mode < MODE_COUNT ? mode_names[g->m->mode] : "");
	if (p->has_statistics) {
		snprintf(text, sizeof(text),
			 "due %" PRIu64 ", achieved %" PRIu64 ", missed %" PRIu64
			 ", with a <moving> leaf %" PRIu64,
			 p->statistics.due, p->statistics.achieved, p->statistics.missed,
			 p->statistics.moving);
		put_fact(g, "Samples", text);
	}
	sink_text(g->out, "]}]");
}

void gecko_put_meta(struct gecko *g)
{
	const struct stream_header *h = &g->m->processes[0].header;

	sink_text(g->out, "\"meta\":{\"interval\":");
	gecko_put_milliseconds(g, model_interval(h));
	sink_text(g->out, ",\"startTime\":");
	gecko_put_milliseconds(g, g->moments.start_ns);
	sink_text(g->out, ",\"profilingStartTime\":0,\"profilingEndTime\":");
	gecko_put_milliseconds(g, g->moments.length_ns);
	sink_text(g->out, ",\"processType\":0,\"product\":");
	gecko_put_text(g, h->command[0] ? h->command : "Python");
	sink_text(g->out, ",\"stackwalk\":0,\"version\":");
	sink_unsigned(g->out, GECKO_VERSION);
	sink_text(g->out, ",\"preprocessedProfileVersion\":");
	sink_unsigned(g->out, PROCESSED_VERSION);
	sink_text(g->out, ",\"importedFrom\":\"pyprof\",\"symbolicated\":true,"
			  "\"usesOnlyOneStackType\":true,\"sourceCodeIsNotOnSearchfox\":true,"
			  "\"platform\":\"Linux\",\"oscpu\":\"Linux x86_64\",\"misc\":\"\","
			  "\"abi\":\"x86_64\",\"toolkit\":\"\",\"appBuildID\":\"\","
			  "\"extensions\":{\"id\":[],\"name\":[],\"baseURL\":[],\"length\":0}");
	if (g->cpu_time)
		sink_text(g->out, ",\"sampleUnits\":{\"time\":\"ms\",\"eventDelay\":\"ms\","
				  "\"threadCPUDelta\":\"ns\"}");
	put_categories(g);
	sink_text(g->out, ",\n\"markerSchema\":[");
	gecko_put_schemas(g);
	sink_byte(g->out, ']');
	put_facts(g);
	sink_byte(g->out, '}');
}
