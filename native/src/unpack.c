/* The unpack role: its frames. What they do is in unpack-tree.c, where in unpack-place.c; the protocol in native/UNPACK.md. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "roles.h"
#include "sys.h"
#include "unpack-confine.h"
#include "unpack-place.h"
#include "wire.h"

#define VERSION 1
#define HEADER_SIZE 8
#define META_SIZE 24
#define MAX_PAYLOAD 262144
#define MAX_XATTR_VALUE 65536
#define DRAIN_SECONDS 10

enum frame {
	FRAME_BEGIN = 1,
	FRAME_DIR,
	FRAME_FILE,
	FRAME_DATA,
	FRAME_SYMLINK,
	FRAME_HARDLINK,
	FRAME_NODE,
	FRAME_WHITEOUT,
	FRAME_OPAQUE,
	FRAME_XATTR,
	FRAME_TIMES,
	FRAME_END,
	FRAME_RESULT = 129,
};

static struct tree tree;
static unsigned char input[2 * (HEADER_SIZE + MAX_PAYLOAD)];
static size_t input_start, input_end;
/* The strings of the frame at hand, NUL-terminated. `path` also names the entry in an error. */
static char path[PATH_MAX], target[PATH_MAX];

static size_t left(const struct reader *in)
{
	return (size_t)(in->end - in->at);
}

static void take_text(struct reader *in, size_t length, char text[static PATH_MAX])
{
	text[0] = 0;
	if (in->bad || length > left(in) || length >= PATH_MAX || memchr(in->at, 0, length) != NULL) {
		in->bad = true;
		return;
	}
	memcpy(text, in->at, length);
	text[length] = 0;
	in->at += length;
}

static void take_path(struct reader *in, size_t length, char text[static PATH_MAX])
{
	take_text(in, length, text);
	if (!place_valid(text, length))
		in->bad = true;
}

static void take_path_or_root(struct reader *in)
{
	if (left(in) > 0)
		take_path(in, left(in), path);
	else
		path[0] = 0;
}

/* A path with its length before it, so that another field can follow. */
static void take_sized_path(struct reader *in)
{
	size_t length = wire_u16(in);

	if (wire_u16(in) != 0)
		in->bad = true;
	take_path(in, length, path);
}

static struct meta take_meta(struct reader *in)
{
	uint32_t mode = wire_u32(in);
	struct meta meta = { .mode = mode, .uid = wire_u32(in) };

	meta.gid = wire_u32(in);
	meta.mtime.tv_nsec = (long)wire_u32(in);
	meta.mtime.tv_sec = (time_t)wire_u64(in);
	if (mode > 07777 || meta.mtime.tv_nsec > 999999999L)
		in->bad = true;
	return meta;
}

static int on_dir(struct reader *in)
{
	struct meta meta = take_meta(in);

	take_path_or_root(in);
	return in->bad ? -EPROTO : tree_dir(&tree, path, &meta);
}

static int on_file(struct reader *in)
{
	struct meta meta = take_meta(in);
	uint64_t size = wire_u64(in);

	take_path(in, left(in), path);
	return in->bad ? -EPROTO : tree_file(&tree, path, &meta, size);
}

static int on_data(struct reader *in)
{
	uint64_t offset = wire_u64(in);

	return in->bad ? -EPROTO : tree_data(&tree, offset, in->at, left(in));
}

static int on_symlink(struct reader *in)
{
	struct meta meta = take_meta(in);

	take_sized_path(in);
	take_text(in, left(in), target);
	return in->bad || !*target ? -EPROTO : tree_symlink(&tree, path, target, &meta);
}

static int on_hardlink(struct reader *in)
{
	take_sized_path(in);
	take_path(in, left(in), target);
	return in->bad ? -EPROTO : tree_hardlink(&tree, path, target);
}

static int on_node(struct reader *in)
{
	static const mode_t kinds[] = { 0, S_IFCHR, S_IFBLK, S_IFIFO };
	struct meta meta = take_meta(in);
	uint32_t kind = wire_u32(in);
	uint32_t major_number = wire_u32(in);
	uint32_t minor_number = wire_u32(in);

	take_path(in, left(in), path);
	if (in->bad || kind == 0 || kind > 3)
		return -EPROTO;
	return tree_node(&tree, path, &meta, kinds[kind], makedev(major_number, minor_number));
}

static int on_whiteout(struct reader *in)
{
	take_path(in, left(in), path);
	return in->bad ? -EPROTO : tree_whiteout(&tree, path);
}

static int on_opaque(struct reader *in)
{
	take_path_or_root(in);
	return in->bad ? -EPROTO : tree_opaque(&tree, path);
}

static int on_xattr(struct reader *in)
{
	size_t length = wire_u16(in);

	if (wire_u16(in) != 0 || length == 0 || length > XATTR_NAME_MAX)
		return -EPROTO;
	take_text(in, length, target);
	if (in->bad || left(in) > MAX_XATTR_VALUE)
		return -EPROTO;
	return tree_xattr(&tree, target, in->at, left(in));
}

static int on_times(struct reader *in)
{
	struct timespec mtime;

	mtime.tv_sec = (time_t)wire_u64(in);
	mtime.tv_nsec = (long)wire_u32(in);
	take_path_or_root(in);
	if (in->bad || mtime.tv_nsec > 999999999L)
		return -EPROTO;
	return tree_times(&tree, path, &mtime);
}

typedef int handler(struct reader *in);

static handler *const handlers[] = {
	[FRAME_DIR] = on_dir,
	[FRAME_FILE] = on_file,
	[FRAME_DATA] = on_data,
	[FRAME_SYMLINK] = on_symlink,
	[FRAME_HARDLINK] = on_hardlink,
	[FRAME_NODE] = on_node,
	[FRAME_WHITEOUT] = on_whiteout,
	[FRAME_OPAQUE] = on_opaque,
	[FRAME_XATTR] = on_xattr,
	[FRAME_TIMES] = on_times,
};

static int handle(unsigned int type, struct reader *in, uint64_t frames)
{
	if (frames == 0)
		return type == FRAME_BEGIN && left(in) == 4 && wire_u32(in) == VERSION ? 0 : -EPROTO;
	/* DATA and XATTR belong to the entry at hand; every other frame ends it. */
	if (type != FRAME_DATA && type != FRAME_XATTR) {
		int err = tree_finish(&tree);
		if (err < 0)
			return err;
		path[0] = 0;
	}
	if (type == FRAME_END)
		return left(in) == 0 ? 1 : -EPROTO;
	if (type >= sizeof(handlers) / sizeof(handlers[0]) || handlers[type] == NULL)
		return -EPROTO;
	return handlers[type](in);
}

/* Makes `length` bytes available at input_start. */
static int fill(size_t length)
{
	if (input_start + length > sizeof(input)) {
		memmove(input, input + input_start, input_end - input_start);
		input_end -= input_start;
		input_start = 0;
	}
	while (input_end - input_start < length) {
		ssize_t count = read(STDIN_FILENO, input + input_end, sizeof(input) - input_end);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? -errno : -ENODATA;
		input_end += (size_t)count;
	}
	return 0;
}

static int read_frames(uint64_t *frames)
{
	for (int status = 0; status == 0; ++*frames) {
		int err = fill(HEADER_SIZE);
		if (err < 0)
			return err;
		struct reader header = wire_reader(input + input_start, HEADER_SIZE);
		uint32_t length = wire_u32(&header);
		unsigned int type = wire_u8(&header);
		if (length > MAX_PAYLOAD || wire_u8(&header) != 0 || wire_u16(&header) != 0)
			return -EPROTO;
		err = fill(HEADER_SIZE + length);
		if (err < 0)
			return err;
		struct reader payload = wire_reader(input + input_start + HEADER_SIZE, length);
		status = handle(type, &payload, *frames);
		if (status < 0)
			return status;
		input_start += HEADER_SIZE + length;
	}
	return 0;
}

static int send_result(int err, uint64_t frames)
{
	static unsigned char frame[HEADER_SIZE + 32 + PATH_MAX];
	struct writer out = wire_writer(frame, sizeof(frame));
	size_t text = err == 0 ? 0 : strlen(path);

	wire_put_u32(&out, (uint32_t)(32 + text));
	wire_put_u32(&out, FRAME_RESULT); /* the type and three zeros */
	wire_put_u32(&out, (uint32_t)-err);
	wire_put_u32(&out, 0);
	wire_put_u64(&out, tree.bytes);
	wire_put_u64(&out, tree.inodes);
	wire_put_u64(&out, frames);
	memcpy(frame + out.length, path, text);
	return sys_write_all(STDOUT_FILENO, frame, out.length + text);
}

int unpack_main(int argc, char **argv)
{
	uint64_t frames = 0;

	if (argc != 3) {
		(void)fputs("usage: nacelle-native unpack DIR < frames\n", stderr);
		return 2;
	}
	const char *step = unpack_confine(argv[2]);
	if (step == NULL && tree_open(&tree) < 0)
		step = "open the layer directory";
	if (step != NULL) {
		(void)fprintf(stderr, "unpack %s: %s: %s\n", argv[2], step, strerror(errno));
		return 3;
	}
	(void)umask(0);
	int err = read_frames(&frames);
	if (send_result(err, frames) == 0 && err == 0)
		return 0;
	(void)alarm(DRAIN_SECONDS);
	while (read(STDIN_FILENO, input, sizeof(input)) > 0)
		continue;
	return 1;
}
