/* Which operations there are, how they are decoded, and that they are done one after the other. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operation.h"

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
