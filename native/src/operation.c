/* Decoding and the operations that are little more than one system call. */
#include "operation.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sys.h"

int step_failed(struct performance *p, const char *call, const char *path)
{
	p->performed->error = errno;
	p->performed->code = ERR_SYSCALL;
	(void)snprintf(p->performed->what, sizeof(p->performed->what), "%s", call);
	(void)snprintf(p->performed->path, sizeof(p->performed->path), "%s", path);
	return -1;
}

void step_result(struct performance *p, const char *text)
{
	size_t length = strlen(text);

	memcpy(p->result.data, text, length); /* at most a path; there is room for READ_MAX */
	p->result.length = length;
}

static int make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		(void)mkdir(path, 0755); /* what is wrong with it shows at the last one */
		*at = '/';
	}
	return 0;
}

static int step_mkdir(struct performance *p, const struct step *step)
{
	struct stat stat_of;

	if (step->parents)
		(void)make_parents(step->text[0]);
	if (mkdir(step->text[0], step->number) == 0)
		/* again, because the umask has taken bits away */
		return chmod(step->text[0], step->number) < 0 ? step_failed(p, "chmod", step->text[0]) : 0;
	if (errno != EEXIST)
		return step_failed(p, "mkdir", step->text[0]);
	if (stat(step->text[0], &stat_of) == 0 && S_ISDIR(stat_of.st_mode))
		return 0;
	errno = ENOTDIR;
	return step_failed(p, "mkdir", step->text[0]);
}

static int step_rmdir(struct performance *p, const struct step *step)
{
	return rmdir(step->text[0]) < 0 && errno != ENOENT ? step_failed(p, "rmdir", step->text[0]) : 0;
}

static int step_unlink(struct performance *p, const struct step *step)
{
	return unlink(step->text[0]) < 0 && errno != ENOENT ? step_failed(p, "unlink", step->text[0]) : 0;
}

static int step_write_file(struct performance *p, const struct step *step)
{
	char temporary[PATH_ROOM + 32];
	int fd;
	int r;

	(void)snprintf(temporary, sizeof(temporary), "%s.%d~", step->text[0], (int)getpid());
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return step_failed(p, "open", step->text[0]);
	r = sys_write_all(fd, step->data.data, step->data.length);
	if (r < 0) {
		errno = -r;
		(void)step_failed(p, "write", step->text[0]);
	} else if (fchmod(fd, step->number) < 0 || rename(temporary, step->text[0]) < 0) {
		r = step_failed(p, "rename", step->text[0]);
	}
	if (r < 0)
		(void)unlink(temporary);
	(void)close(fd);
	return r < 0 ? -1 : 0;
}

static int step_write_kernel_file(struct performance *p, const struct step *step)
{
	int r = sys_write_existing(step->text[0], step->data.data, step->data.length);

	errno = -r;
	return r < 0 ? step_failed(p, "write", step->text[0]) : 0;
}

static int step_rename(struct performance *p, const struct step *step)
{
	return rename(step->text[0], step->text[1]) < 0 ? step_failed(p, "rename", step->text[0]) : 0;
}

static int step_mount(struct performance *p, const struct step *step)
{
	enum { SOURCE, TARGET, TYPE, DATA, CHDIR };
	int r;

	if (step->text[CHDIR][0] && chdir(step->text[CHDIR]) < 0)
		return step_failed(p, "chdir", step->text[CHDIR]);
	r = mount(step->text[SOURCE][0] ? step->text[SOURCE] : NULL, step->text[TARGET],
		  step->text[TYPE][0] ? step->text[TYPE] : NULL, step->flags, step->text[DATA][0] ? step->text[DATA] : NULL);
	if (r < 0)
		(void)step_failed(p, "mount", step->text[TARGET]);
	if (step->text[CHDIR][0] && chdir("/") < 0 && r == 0)
		return step_failed(p, "chdir", "/");
	return r;
}

/* Of the name itself, never of what a link leads to. */
static int step_chown(struct performance *p, const struct step *step)
{
	return lchown(step->text[0], step->uid, step->gid) < 0 ? step_failed(p, "chown", step->text[0]) : 0;
}

static int step_stat(struct performance *p, const struct step *step)
{
	static const char letters[16] = "?pc?d?b?f?l?s???"; /* by S_IFMT >> 12 */
	struct stat s;
	char text[128];

	if (stat(step->text[0], &s) < 0)
		return step_failed(p, "stat", step->text[0]);
	(void)snprintf(text, sizeof(text), "%c %u %u %u %ju %jd", letters[(s.st_mode & S_IFMT) >> 12], s.st_mode & 07777,
		       s.st_uid, s.st_gid, (uintmax_t)s.st_rdev, (intmax_t)s.st_size);
	step_result(p, text);
	return 0;
}

static int step_realpath(struct performance *p, const struct step *step)
{
	char path[PATH_ROOM];

	if (!realpath(step->text[0], path))
		return step_failed(p, "realpath", step->text[0]);
	step_result(p, path);
	return 0;
}

static int step_syncfs(struct performance *p, const struct step *step)
{
	int fd = open(step->text[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return step_failed(p, "open", step->text[0]);
	return syncfs(fd) < 0 ? step_failed(p, "syncfs", step->text[0]) : close(fd);
}

static int step_statfs(struct performance *p, const struct step *step)
{
	struct statfs s;
	char text[128];

	if (statfs(step->text[0], &s) < 0)
		return step_failed(p, "statfs", step->text[0]);
	(void)snprintf(text, sizeof(text), "%jd %ju %ju %ju %ju", (intmax_t)s.f_bsize, (uintmax_t)s.f_blocks,
		       (uintmax_t)s.f_bfree, (uintmax_t)s.f_files, (uintmax_t)s.f_ffree);
	step_result(p, text);
	return 0;
}

/* Fields: s path (not empty), o text or nothing, n u32, q u64, c u8, w owner (u32 uid, u32 gid), b bytes, l list<str>. */
static const struct {
	const char *fields;
	int (*perform)(struct performance *p, const struct step *step);
} kinds[] = {
	[OP_MKDIR] = { "snc", step_mkdir },
	[OP_RMDIR] = { "s", step_rmdir },
	[OP_UNLINK] = { "s", step_unlink },
	[OP_RMTREE] = { "s", step_rmtree },
	[OP_WRITE_FILE] = { "snb", step_write_file },
	[OP_WRITE_KERNEL_FILE] = { "sb", step_write_kernel_file },
	[OP_RENAME] = { "ss", step_rename },
	[OP_MOUNT] = { "osoqoo", step_mount },
	[OP_UNMOUNT] = { "s", step_unmount },
	[OP_NAMESPACES] = { "ooool", step_namespaces },
	[OP_UNPIN] = { "s", step_unpin },
	[OP_STAT] = { "s", step_stat },
	[OP_REALPATH] = { "s", step_realpath },
	[OP_READ_IN_ROOT] = { "ssn", step_read_in_root },
	[OP_MKDIR_IN_ROOT] = { "ssn", step_mkdir_in_root },
	[OP_SYNCFS] = { "s", step_syncfs },
	[OP_KILL_CGROUP] = { "l", step_kill_cgroup },
	[OP_REMOVE_CGROUP] = { "l", step_remove_cgroup },
	[OP_STATFS] = { "s", step_statfs },
	[OP_DISK_USAGE] = { "s", step_disk_usage },
	[OP_BIND_IN_ROOT] = { "sss", step_bind_in_root },
	[OP_COPY_IN_ROOT] = { "sss", step_copy_in_root },
	[OP_SET_OOM_SCORE_ADJ] = { "sb", step_set_oom_score_adj },
	[OP_USER_NAMESPACE] = { "sss", step_user_namespace },
	[OP_NAMESPACES_OF] = { "oooosl", step_namespaces },
	[OP_MOUNT_OVERLAY] = { "ssool", step_mount_overlay },
	[OP_CHOWN] = { "sw", step_chown },
	[OP_MKDIR_IN_ROOT_AS] = { "ssnw", step_mkdir_in_root },
	[OP_TRY_IDMAP] = { "ss", step_try_idmap },
	[OP_DEVICES] = { "s", step_devices },
};

/* Mount data may be longer than a path (overlay: up to a page), never than 8 KiB. */
static char *text_of(struct reader *reader, bool needed)
{
	struct span span = wire_str(reader);
	char *text = span.length < (needed ? PATH_ROOM : 2 * PATH_ROOM) ? malloc((size_t)span.length + 1) : NULL;

	if (!text || (needed && span.length == 0)) {
		reader->bad = true;
		return NULL;
	}
	if (span.length > 0)
		memcpy(text, span.data, span.length);
	text[span.length] = 0;
	return text;
}

static void list_of(struct reader *reader, struct step *step)
{
	void *arena = malloc(ARENA);

	step->list = arena ? wire_vector(reader, arena, ARENA, &step->count) : NULL;
	reader->bad |= step->list == NULL;
}

/* ERR_MALFORMED, ERR_UNSUPPORTED or 0. */
static enum error_code decode(struct reader *reader, struct step *step)
{
	size_t texts = 0;

	step->kind = wire_u16(reader);
	if (step->kind == 0 || step->kind >= sizeof(kinds) / sizeof(kinds[0]) || !kinds[step->kind].perform)
		return reader->bad ? ERR_MALFORMED : ERR_UNSUPPORTED;
	for (const char *field = kinds[step->kind].fields; *field && !reader->bad; field++) {
		switch (*field) {
		case 's':
		case 'o':
			step->text[texts++] = text_of(reader, *field == 's');
			break;
		case 'n':
			step->number = wire_u32(reader);
			break;
		case 'q':
			step->flags = wire_u64(reader);
			break;
		case 'c':
			step->parents = wire_u8(reader);
			break;
		case 'w':
			step->uid = wire_u32(reader);
			step->gid = wire_u32(reader);
			break;
		case 'b':
			step->data = wire_bytes(reader);
			break;
		default:
			list_of(reader, step);
		}
	}
	return reader->bad ? ERR_MALFORMED : 0;
}

static bool refuse(struct performed *performed, enum error_code code, const char *what)
{
	performed->code = (uint16_t)code;
	(void)snprintf(performed->what, sizeof(performed->what), "%s", what);
	performed->done = true;
	return false;
}

static bool perform(struct performance *p, const struct step *steps, uint32_t count)
{
	static uint8_t room[READ_MAX + 64];
	struct writer list = wire_writer(p->performed->data, RESULT_MAX);

	wire_put_u32(&list, count);
	for (uint32_t i = 0; i < count; i++) {
		p->performed->index = i;
		p->result = wire_writer(room, sizeof(room));
		if (kinds[steps[i].kind].perform(p, &steps[i]) < 0)
			return false;
		wire_put_bytes(&list, p->result.data, p->result.length);
		if (list.full)
			return refuse(p->performed, ERR_LIMIT, "results of more than 192 KiB");
	}
	p->performed->length = (uint32_t)list.length;
	return true;
}

void operations_perform(struct performed *performed, struct reader *reader)
{
	struct performance p = { .performed = performed };
	uint32_t count = wire_u32(reader);
	struct step *steps = count <= STEPS_MAX ? calloc((size_t)count + 1, sizeof(*steps)) : NULL;

	if (!steps || reader->bad) {
		(void)refuse(performed, ERR_MALFORMED, "number of operations");
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		enum error_code code = decode(reader, &steps[i]);

		performed->index = i;
		if (code) {
			(void)refuse(performed, code, "operation");
			return;
		}
	}
	(void)perform(&p, steps, count);
	performed->done = true;
}
