/*
 * Reads the figures of many cgroups at once for the daemon: files stay open and are read again from their start. A
 * process of its own, because every open file would make each fork of the launcher dearer. See "Stats reader" in
 * ../README.md.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "roles.h"
#include "stats.h"
#include "sys.h"
#include "wire.h"

enum {
	SLOTS_MAX = 16384,
	DIRECTORIES_MAX = 16,
};

_Static_assert(16 + (STATS_FILES_MAX + 1) * (6 + STATS_TEXT_MAX) <= FRAME_MAX, "a set fits a frame");

static struct {
	int connection;
	struct stats_set *sets[SLOTS_MAX];
	uint8_t in[FRAME_HEADER + FRAME_MAX];
	uint8_t out[FRAME_HEADER + FRAME_MAX];
} stats;

static void send_frame(struct frame_header request, uint16_t flags, size_t length)
{
	wire_put_header(stats.out,
			(struct frame_header){ (uint32_t)length, request.type | TYPE_REPLY, flags, request.seq });
	if (sys_write_all(stats.connection, stats.out, FRAME_HEADER + length) < 0)
		_exit(0); /* the daemon is gone */
}

static void refuse(struct frame_header request, enum error_code code, const char *what)
{
	struct writer w = wire_writer(stats.out + FRAME_HEADER, FRAME_MAX);

	wire_put_u16(&w, (uint16_t)code);
	wire_put_i32(&w, 0);
	wire_put_u32(&w, 0);
	wire_put_str(&w, what);
	wire_put_str(&w, "");
	send_frame(request, FLAG_ERROR, w.length);
}

static void forget(uint32_t slot)
{
	struct stats_set *set = stats.sets[slot];

	for (uint32_t i = 0; set && i < set->file_count; i++)
		stats_close_file(set, i);
	free(set);
	stats.sets[slot] = NULL;
}

static bool is_plain_path(struct span text)
{
	return text.length > 0 && text.length < STATS_PATH_ROOM / 2 && text.data[0] == '/';
}

static bool is_plain_name(struct span text)
{
	return text.length > 0 && text.length < 256 && !memchr(text.data, '/', text.length);
}

/* How many files the description has; -1 when it is out of its bounds. */
static int check_spec(struct reader r)
{
	struct span netns = wire_str(&r);
	uint32_t directories = wire_u32(&r);
	uint32_t files;

	if (r.bad || directories > DIRECTORIES_MAX || (netns.length > 0 && !is_plain_path(netns)))
		return -1;
	for (uint32_t i = 0; i < directories; i++)
		if (!is_plain_path(wire_str(&r)))
			return -1;
	files = wire_u32(&r);
	if (r.bad || files > STATS_FILES_MAX)
		return -1;
	for (uint32_t i = 0; i < files; i++) {
		struct stats_file file = stats_next_file(&r);

		if (r.bad || file.directory >= directories || !is_plain_name(file.name))
			return -1;
	}
	return (int)files;
}

static void add(struct frame_header request, struct reader *reader)
{
	uint32_t slot = wire_u32(reader);
	size_t length = (size_t)(reader->end - reader->at);
	int files = reader->bad || slot >= SLOTS_MAX ? -1 : check_spec(*reader);
	struct stats_set *set;

	if (files < 0) {
		refuse(request, ERR_MALFORMED, "ADD");
		return;
	}
	set = malloc(sizeof(*set) + length);
	if (!set) {
		refuse(request, ERR_LIMIT, "memory");
		return;
	}
	forget(slot);
	*set = (struct stats_set){ .file_count = (uint32_t)files, .length = (uint32_t)length };
	memcpy(set->spec, reader->at, length);
	for (uint32_t i = 0; i < STATS_FILES_MAX; i++)
		set->fds[i] = -1;
	stats.sets[slot] = set;
	send_frame(request, 0, 0);
}

static void remove_sets(struct frame_header request, struct reader *reader)
{
	uint32_t count = wire_u32(reader);

	for (uint32_t i = 0; i < count && !reader->bad; i++) {
		uint32_t slot = wire_u32(reader);

		if (!reader->bad && slot < SLOTS_MAX)
			forget(slot);
	}
	if (reader->bad)
		refuse(request, ERR_MALFORMED, "REMOVE");
	else
		send_frame(request, 0, 0);
}

static void put_text(struct writer *w, ssize_t n, const uint8_t *text)
{
	wire_put_u16(w, n < 0 ? (uint16_t)-n : 0);
	wire_put_bytes(w, text, n < 0 ? 0 : (size_t)n);
}

static void put_set(struct writer *w, struct stats_set *set, uint8_t level)
{
	uint8_t text[STATS_TEXT_MAX];
	struct reader r = wire_reader(set->spec, set->length);
	struct span netns = wire_str(&r);
	uint32_t directories = wire_u32(&r);
	struct reader first = r;
	size_t count_at = w->length + 8;
	uint32_t count = 0;
	struct writer count_writer;

	wire_put_u64(w, sys_realtime_ns());
	wire_put_u32(w, 0);
	for (uint32_t i = 0; i < directories; i++)
		(void)wire_str(&r);
	(void)wire_u32(&r);
	for (uint32_t i = 0; i < set->file_count; i++) {
		struct stats_file file = stats_next_file(&r);

		if (file.level > level)
			continue;
		put_text(w, stats_read_file(set, i, first, &file, text), text);
		count++;
	}
	if (netns.length > 0) {
		put_text(w, stats_read_network(netns, text), text);
		count++;
	}
	if (w->full)
		return;
	count_writer = wire_writer(w->data + count_at, 4);
	wire_put_u32(&count_writer, count);
}

/* As many of the sets, in the order asked for, as one frame holds. */
static void read_sets(struct frame_header request, struct reader *reader)
{
	struct writer w = wire_writer(stats.out + FRAME_HEADER, FRAME_MAX);
	struct writer count_writer = wire_writer(stats.out + FRAME_HEADER, 4);
	uint8_t level = wire_u8(reader);
	uint32_t count = wire_u32(reader);
	uint32_t done = 0;

	wire_put_u32(&w, 0);
	while (done < count && !reader->bad) {
		uint32_t slot = wire_u32(reader);
		struct stats_set *set = !reader->bad && slot < SLOTS_MAX ? stats.sets[slot] : NULL;
		size_t before = w.length;

		reader->bad = !set;
		if (set)
			put_set(&w, set, level);
		if (w.full) {
			w.length = before;
			break;
		}
		done += set != NULL;
	}
	stats_come_home();
	if (reader->bad) {
		refuse(request, ERR_MALFORMED, "READ");
		return;
	}
	wire_put_u32(&count_writer, done);
	send_frame(request, 0, w.length);
}

static void dispatch(struct frame_header request, struct reader reader)
{
	switch (request.type) {
	case MSG_STATS_ADD:
		add(request, &reader);
		break;
	case MSG_STATS_REMOVE:
		remove_sets(request, &reader);
		break;
	case MSG_STATS_READ:
		read_sets(request, &reader);
		break;
	default:
		refuse(request, ERR_UNSUPPORTED, "request");
	}
}

/* False at the end of the connection. */
static bool receive(uint8_t *to, size_t length)
{
	while (length > 0) {
		ssize_t n = read(stats.connection, to, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		length -= (size_t)n;
	}
	return true;
}

_Noreturn void stats_main(int connection, pid_t launcher)
{
	stats.connection = connection;
	if (!stats_files_begin() || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != launcher)
		_exit(1);
	(void)signal(SIGPIPE, SIG_IGN);
	while (receive(stats.in, FRAME_HEADER)) {
		struct frame_header request = wire_header(stats.in);

		if (request.length > FRAME_MAX || !receive(stats.in + FRAME_HEADER, request.length))
			break;
		dispatch(request, wire_reader(stats.in + FRAME_HEADER, request.length));
	}
	_exit(0);
}
