/*
 * Reads every golden frame by its fields, writes it again, and compares; then cuts each short at every byte. A line is
 * a name and hex, or of a recorded conversation: connection, direction and hex.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* Payloads: 1 u8, 2 u16, 4 u32, i i32, 8 u64, b bytes, s str, l list<str>, C list of containers, c one container, P operations, N list<u32>,
 * F files of a set, R readings, T their texts. */
static const struct {
	const char *name;
	const char *fields;
} shapes[] = {
	{ "hello", "2281" },		   { "hello.data", "2281" },
	{ "hello.reply", "248ss8l" },	   { "hello.monitor.reply", "248ss8l" },
	{ "error.reply", "2i4ss" },	   { "error.runtime.reply", "2i4ss" },
	{ "run", "ss4sllb" },		   { "run.reply", "1i1bb" },
	{ "perform", "ss4P" },		   { "perform.reply", "l" },
	{ "perform.volumes", "ss4P" },	   { "perform.score", "ss4P" },
	{ "perform.users", "ss4P" },	   { "perform.devices", "ss4P" },
	{ "cancel", "8" },		   { "startMonitor", "sss" },
	{ "startMonitor.reply", "48" },	   { "watch", "s48" },
	{ "unwatch", "s" },		   { "startUnpack", "s4" },
	{ "startUnpack.reply", "s4" },	   { "kill", "484" },
	{ "exited", "s1ii" },		   { "exited.unknown", "s1ii" },
	{ "snapshot.reply", "C" },	   { "create", "s4slls442s" },
	{ "create.reply", "48" },	   { "start", "s4ll" },
	{ "start.reply", "8" },		   { "runtime", "4sll" },
	{ "runtime.reply", "1i1bb" },	   { "signal", "s4" },
	{ "exec", "s448llb" },		   { "exec.owner", "s448llb44" },
	{ "execStream.owner", "s4122llb44" },
	{ "exec.output", "1b" },
	{ "exec.reply", "1i8" },	   { "logReopen", "s" },
	{ "logReopen.reply", "8" },	   { "ackExit", "s" },
	{ "release", "s" },		   { "exit", "c" },
	{ "logError", "si" },		   { "logRecovered", "s8" },
	{ "startStats.reply", "s4" },	   { "stats.add", "4slF" },
	{ "notify", "ss" },
	{ "stats.remove", "N" },	   { "stats.read", "1N" },
	{ "stats.read.reply", "R" },	   { "create.terminal", "s4slls442s" },
	{ "execStream", "s4122llb" },	   { "input", "b" },
	{ "resize", "22" },		   { "execExit", "1i" },
	{ "attach", "s1" },		   { "gap", "18" },
	{ "netConnect", "s24" },	   { "hello.monitor", "2281" },
	{ "create.extras", "s4slls442ss8818s" }, { "exit.counts", "c888" },
	{ "exit.pod", "c8881" },
	{ "logRecovered.lines", "s88" },   { "oom", "s8" },
	{ "health", "s14" },		   { "health.well", "s141" },
	{ "logLimit", "s18" },
};

/* What recorded frames are named: replies with ".reply" after it. */
static const struct {
	uint16_t type;
	const char *name;
} names[] = {
	{ MSG_HELLO, "hello" },
	{ MSG_RUN, "run" },
	{ MSG_PERFORM, "perform" },
	{ MSG_CANCEL, "cancel" },
	{ MSG_START_MONITOR, "startMonitor" },
	{ MSG_WATCH, "watch" },
	{ MSG_UNWATCH, "unwatch" },
	{ MSG_START_UNPACK, "startUnpack" },
	{ MSG_KILL, "kill" },
	{ MSG_NOTIFY, "notify" },
	{ MSG_START_STATS, "startStats" },
	{ MSG_STATS_ADD, "stats.add" },
	{ MSG_STATS_REMOVE, "stats.remove" },
	{ MSG_STATS_READ, "stats.read" },
	{ MSG_SNAPSHOT, "snapshot" },
	{ MSG_CREATE, "create" },
	{ MSG_START, "start" },
	{ MSG_RUNTIME, "runtime" },
	{ MSG_SIGNAL, "signal" },
	{ MSG_EXEC, "exec" },
	{ MSG_LOG_REOPEN, "logReopen" },
	{ MSG_ACK_EXIT, "ackExit" },
	{ MSG_RELEASE, "release" },
	{ MSG_SHUTDOWN, "shutdown" },
	{ MSG_ATTACH, "attach" },
	{ MSG_RESIZE, "resize" },
	{ MSG_EXEC_STREAM, "execStream" },
	{ MSG_STDIN_CLOSE, "stdinClose" },
	{ MSG_NET_CONNECT, "netConnect" },
	{ MSG_INPUT, "input" },
	{ EVT_EXITED, "exited" },
	{ EVT_EXIT, "exit" },
	{ EVT_EXEC_OUTPUT, "exec.output" },
	{ EVT_LOG_ERROR, "logError" },
	{ EVT_LOG_RECOVERED, "logRecovered" },
	{ EVT_EXEC_EXIT, "execExit" },
	{ EVT_OOM, "oom" },
	{ EVT_HEALTH, "health" },
	{ EVT_LOG_LIMIT, "logLimit" },
	{ EVT_GAP, "gap" },
	{ EVT_ATTACH_END, "attachEnd" },
};

static const char *const operations[] = { "",  "s41",	 "s", "s",  "s",  "s4b", "sb", "ss", "sss8ss", "s", "ssssl",
					  "s", "s", "s", "ss4", "ss4", "s",	 "l",  "l",  "s",      "s",
					  "sss", "sss", "sb", "sss", "sssssl", "ssssl", "s44", "ss444", "ss", "s" };
static const char container[] = "s148ii888881";

/* What the items of a list hold. */
static const struct {
	char kind;
	const char *fields;
} lists[] = { { 'C', container }, { 'N', "4" }, { 'F', "111s" }, { 'R', "8T" }, { 'T', "2b" } };

static void copy_fields(struct reader *r, struct writer *w, const char *fields);

static void copy_list(struct reader *r, struct writer *w)
{
	static char *arena[4096];
	size_t count;
	char **items = wire_vector(r, arena, sizeof(arena), &count);

	if (!items)
		return;
	wire_put_u32(w, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		wire_put_str(w, items[i]);
}

static void copy_operations(struct reader *r, struct writer *w)
{
	uint32_t count = wire_u32(r);

	wire_put_u32(w, count);
	for (uint32_t i = 0; i < count && !r->bad; i++) {
		uint16_t number = wire_u16(r);

		wire_put_u16(w, number);
		if (number < sizeof(operations) / sizeof(operations[0]))
			copy_fields(r, w, operations[number]);
	}
}

static void copy_many(struct reader *r, struct writer *w, const char *fields)
{
	uint32_t count = wire_u32(r);

	wire_put_u32(w, count);
	for (uint32_t i = 0; i < count && !r->bad; i++)
		copy_fields(r, w, fields);
}

/* NULL for what is no list of this kind. */
static const char *items_of(char kind)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (lists[i].kind == kind)
			return lists[i].fields;
	return NULL;
}

static void copy_bytes(struct reader *r, struct writer *w, bool text)
{
	struct span span = text ? wire_str(r) : wire_bytes(r);

	wire_put_bytes(w, span.data, span.length);
}

static void copy_fields(struct reader *r, struct writer *w, const char *fields)
{
	for (; *fields && !r->bad; fields++) {
		switch (*fields) {
		case '1':
			wire_put_u8(w, wire_u8(r));
			break;
		case '2':
			wire_put_u16(w, wire_u16(r));
			break;
		case '4':
			wire_put_u32(w, wire_u32(r));
			break;
		case 'i':
			wire_put_i32(w, wire_i32(r));
			break;
		case '8':
			wire_put_u64(w, wire_u64(r));
			break;
		case 'l':
			copy_list(r, w);
			break;
		case 'c':
			copy_fields(r, w, container);
			break;
		case 'P':
			copy_operations(r, w);
			break;
		default:
			if (items_of(*fields))
				copy_many(r, w, items_of(*fields));
			else
				copy_bytes(r, w, *fields == 's');
		}
	}
}

/* Messages without fields are not in the table. */
static const char *fields_of(const char *name)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0)
			return shapes[i].fields;
	return "";
}

/* The name of a recorded frame, valid until the next call; NULL when nothing here knows its type. */
static const char *name_of(const uint8_t *frame)
{
	static char name[32];
	struct frame_header header = wire_header(frame);
	const char *reply = (header.type & TYPE_REPLY) != 0 ? ".reply" : "";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].type != (header.type & ~TYPE_REPLY))
			continue;
		(void)snprintf(name, sizeof(name), "%s%s", (header.flags & FLAG_ERROR) != 0 ? "error" : names[i].name,
			       reply);
		return name;
	}
	return NULL;
}

static size_t from_hex(const char *hex, uint8_t *bytes, size_t capacity)
{
	size_t length = 0;
	unsigned value;

	for (; length < capacity && sscanf(hex, "%2x", &value) == 1; hex += 2)
		bytes[length++] = (uint8_t)value;
	return length;
}

static bool check(const char *fields, const uint8_t *frame, size_t length)
{
	static uint8_t copy[32768];
	struct frame_header header = wire_header(frame);
	struct reader r = wire_reader(frame + FRAME_HEADER, length - FRAME_HEADER);
	struct writer w = wire_writer(copy + FRAME_HEADER, sizeof(copy) - FRAME_HEADER);

	if (header.length != length - FRAME_HEADER)
		return false;
	wire_put_header(copy, header);
	copy_fields(&r, &w, fields);
	if (r.bad || w.full || r.at != r.end || w.length != header.length || memcmp(copy, frame, length) != 0)
		return false;
	for (size_t cut = 0; cut < header.length; cut++) {
		/* Of exactly this size, so that a sanitizer sees the first byte read beyond it. */
		uint8_t *part = malloc(cut + 1);

		if (!part)
			return false;
		memcpy(part, frame + FRAME_HEADER, cut);
		r = wire_reader(part, cut);
		w = wire_writer(copy, sizeof(copy));
		copy_fields(&r, &w, fields);
		free(part);
		if (!r.bad)
			return false;
	}
	return true;
}

/* A recorded frame is of any of the shapes that its message has had: they are named after it, with a dot between. */
static bool check_recorded(const char *name, const uint8_t *frame, size_t length)
{
	size_t own = strlen(name);

	if (check(fields_of(name), frame, length))
		return true;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strncmp(shapes[i].name, name, own) == 0 && shapes[i].name[own] == '.' && check(shapes[i].fields, frame, length))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static char line[65536];
	static uint8_t frame[32768];
	FILE *file = argc == 2 ? fopen(argv[1], "re") : NULL;
	size_t checked = 0;
	size_t wrong = 0;

	while (file && fgets(line, sizeof(line), file)) {
		char *blank = strrchr(line, ' ');
		const char *name;
		size_t length;
		bool recorded;

		if (line[0] == '#' || !blank)
			continue;
		*blank = 0;
		length = from_hex(blank + 1, frame, sizeof(frame));
		checked++;
		recorded = strchr(line, ' ') != NULL;
		name = recorded ? name_of(frame) : line;
		if (length >= FRAME_HEADER && name &&
		    (recorded ? check_recorded(name, frame, length) : check(fields_of(name), frame, length)))
			continue;
		(void)fprintf(stderr, "golden: frame %zu, %s, differs\n", checked, name ? name : "unknown");
		wrong++;
	}
	(void)printf("golden: %zu frames, %zu differ\n", checked, wrong);
	return checked < 48 || wrong > 0;
}
