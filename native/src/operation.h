/* What PERFORM executes: runs in a child, so it may block and need not free. */
#ifndef NACELLE_OPERATION_H
#define NACELLE_OPERATION_H

#include <sys/stat.h>

#include "launcher.h"

enum { STEPS_MAX = 1024, TEXTS_MAX = 5, READ_MAX = 131072 };

/* One decoded operation. Which fields are set depends on its kind; the order of texts is that of README.md. */
struct step {
	uint16_t kind;
	char *text[TEXTS_MAX];
	uint32_t number;
	uint64_t flags;
	uint8_t parents;
	uid_t uid;
	gid_t gid;
	struct span data;
	char **list;
	size_t count;
};

struct performance {
	struct performed *performed;
	struct writer result; /* of the step being performed */
};

/* Decodes everything, then performs step by step; the verdict is in `performed`. */
void operations_perform(struct performed *performed, struct reader *reader);

/* Each returns 0, or -1 after step_failed. */
int step_failed(struct performance *p, const char *call, const char *path);
int step_mkdir(struct performance *p, const struct step *step);
int step_rmdir(struct performance *p, const struct step *step);
int step_unlink(struct performance *p, const struct step *step);
int step_write_file(struct performance *p, const struct step *step);
int step_write_kernel_file(struct performance *p, const struct step *step);
int step_rename(struct performance *p, const struct step *step);
int step_mount(struct performance *p, const struct step *step);
int step_chown(struct performance *p, const struct step *step);
int step_stat(struct performance *p, const struct step *step);
int step_realpath(struct performance *p, const struct step *step);
int step_syncfs(struct performance *p, const struct step *step);
int step_statfs(struct performance *p, const struct step *step);
int step_rmtree(struct performance *p, const struct step *step);
int step_disk_usage(struct performance *p, const struct step *step);
int step_namespaces(struct performance *p, const struct step *step);
int step_user_namespace(struct performance *p, const struct step *step);
int step_mount_overlay(struct performance *p, const struct step *step);
int step_try_idmap(struct performance *p, const struct step *step);
int step_unpin(struct performance *p, const struct step *step);
int step_unmount(struct performance *p, const struct step *step);
int step_read_in_root(struct performance *p, const struct step *step);
int step_mkdir_in_root(struct performance *p, const struct step *step);
int step_bind_in_root(struct performance *p, const struct step *step);
int step_copy_in_root(struct performance *p, const struct step *step);
int step_kill_cgroup(struct performance *p, const struct step *step);
int step_remove_cgroup(struct performance *p, const struct step *step);
int step_devices(struct performance *p, const struct step *step);
int step_set_oom_score_adj(struct performance *p, const struct step *step);
void step_result(struct performance *p, const char *text);
/* An fd of `path` below the directory `root`, whatever links are on the way; -1 with errno. */
int open_in_root(int root, const char *path, int flags);

/* operation-links.c: for one copy below the directory `root`. */
int links_begin(int root);
void links_end(void);
/* The copy goes on in a directory of this name, or is back from it. */
void links_enter(const char *name);
void links_leave(const char *name);
/* Of a file with several names: 1, a link to its copy was made here; 0, it is to be copied here; -1 with errno. */
int links_take(const struct stat *s, int dir, const char *name);

#endif
