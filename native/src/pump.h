/*
 * The pump: the monitor's second thread, which carries what containers say to their logs and to who is attached. It does
 * all work on the files of logs, so that one on a disk that does not answer holds up nothing but itself.
 *
 * The other thread, control, tells it what to do by commands, one of a kind at a time for each outlet; what belongs to a
 * command is written before it is told. The pump answers with news. Neither ever waits for the other.
 */
#ifndef NACELLE_PUMP_H
#define NACELLE_PUMP_H

#include <stdatomic.h>

#include "log.h"
#include "loop.h"
#include "record.h"
#include "timer.h"

/* A sanitizer's run time needs a stack of its own measure, and calls that the pump does not. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PUMP_SANITIZED 1
#else
#define PUMP_SANITIZED 0
#endif

enum {
	OUTLETS = 128,           /* more than containers: the pump may let go of one late, or never */
	OUTLET_WORDS = OUTLETS / 64,
	COPY_PATH_MAX = 384,
	PUMP_CHUNK = 256 * 1024, /* one read */
	PUMP_WATCH_MS = 10 * 1000, /* for which a file system may be silent before that is told */
	PUMP_SHARED_CHUNK = 64 * 1024, /* the same while somebody is attached: a quarter of what is kept for a client */
};

/* Done in this order when several are told at once. */
enum pump_command {
	PUMP_OPEN = 1,   /* the log, if it is there */
	PUMP_MAKE = 2,   /* the log, if it is not there yet */
	PUMP_ADD = 4,    /* takes over fds and what was said before */
	PUMP_REOPEN = 8,
	PUMP_DRAIN = 16, /* the process has ended: reads what it wrote before that, ends the log */
	PUMP_COPY = 32,  /* writes the second exit record */
	PUMP_UNCOPY = 64,
	PUMP_CLOSE = 128, /* gives all of it back, in whatever state it is; the last command */
};

enum pump_news {
	NEWS_OPENED = 1,
	NEWS_MADE = 2,
	NEWS_REOPENED = 4,
	NEWS_DRAINED = 8,
	NEWS_LOG = 16,   /* one or more of enum log_news */
	NEWS_GONE = 32,  /* the pump has let go of it */
};

/* What the pump has to say of an outlet. */
struct pump_report {
	unsigned news;
	unsigned log_news;
	int errors[3];      /* of the last OPEN, MAKE and REOPEN: -errno, or 0 */
	uint64_t inode;     /* of the last REOPEN, */
	uint32_t reopening; /* which was this one */
	int log_error;      /* errno of the failure that lasts, else of the last one */
	bool log_fails;     /* it lasts */
	uint64_t lost;      /* as in struct log */
	uint64_t lost_lines;
	uint64_t episode;
	uint64_t episode_lines;
	uint64_t log_size;  /* of the file, when it reached a limit */
};

struct pump_said {
	char *data; /* mmap'ed, or NULL */
	size_t length;
	size_t capacity;
};

struct pump_stream {
	struct source source;
	struct outlet *outlet;
	struct log_stream log;
	bool wide;        /* its pipe was enlarged, or cannot be */
	size_t little;    /* less than this read at once may be left to gather; 0: never, it is a terminal */
	uint64_t read_at; /* when last, in ns of CLOCK_MONOTONIC */
};

/* Where the output of one container goes. Belongs to the pump from OPEN to NEWS_GONE, but for what is control's. */
struct outlet {
	_Atomic unsigned commands;
	_Atomic unsigned attached; /* clients; 0: nothing is done for them */
	_Atomic uint32_t reopening; /* even: this one is to be done; odd: it is settled, for one side or the other */
	struct pump_report report; /* under pump_lock */
	/* Written by control before it tells: OPEN, the log's path, which is there to DRAIN; */
	/* ADD, taken over, -1 for what there is not; */
	int fds[2];                /* read ends of pipes, or a terminal's master in the first */
	int slave;                 /* of that terminal, held so that closing it for a while is no hangup */
	struct pump_said said[2];
	/* COPY. */
	char copy_path[COPY_PATH_MAX]; /* empty: none */
	uint8_t copy[RECORD_SIZE];
	/* Control's. */
	struct container *container; /* NULL: it is not interested any more */
	bool taken;
	/* The pump's. */
	struct pump_stream streams[2];
	struct timer tail_timer;
	uint64_t tail_since;
	bool held; /* its streams are not in the loop: the log's limits allow no reading */
	struct timer limit_timer; /* until they do, unless only another file helps */
	struct log log;            /* at the end, as the path is in it: of each outlet one page is used */
} __attribute__((aligned(4096)));

extern struct outlet outlets[OUTLETS];

/* pump.c, for control: */
/* Two fds to be polled: for news, and for the watch. */
struct pump_fds {
	int news;
	int watch;
};

/* Starts the thread, if it does not run yet. 0 or -errno. */
int pump_start(struct pump_fds *fds);
void pump_tell(struct outlet *o, enum pump_command command);
/* Which outlets have news, a bit each. True: clients have. To be called when the fd is readable. */
bool pump_heard(uint64_t which[OUTLET_WORDS]);
/* What there is to say of it, which is then said. */
struct pump_report pump_report(struct outlet *o);
/* Bytes and lines of output that were lost so far; `lines` may be NULL. */
uint64_t pump_lost(struct outlet *o, uint64_t *lines);
/* For how long, in ms, the pump has been waiting for a file; 0: it is not. */
uint64_t pump_stuck(void);
/* The same, for what is told of it: since when, in ms, and for which outlet's log, if it is one; 0: it is not. */
uint64_t pump_stuck_since(struct outlet **o);
/* The watch is set, which rings once, this much later: by the pump, when it turns to files and it is not. */
void pump_watch_set(uint64_t ms);
/* It has rung. */
void pump_watch_rang(void);
/* There is to be news when the pump goes on. */
void pump_await_leave(void);
/* Control has taken what was kept for clients. */
void pump_resume(void);

/* For both: never held across a system call that may block. */
void pump_lock(void);
void pump_unlock(void);

/* For the pump alone: */
struct pump {
	struct loop loop;
	struct timers timers;
	struct source commands;
	struct timer idle;
	bool used;   /* big buffers were touched since the idle timer was set */
	bool flows;  /* what was read last was little and more is on its way: it is left to gather for a moment */
	bool behind; /* control is to catch up with what is kept for clients */
	char chunk[PUMP_CHUNK] __attribute__((aligned(4096)));
	char tails[OUTLETS][2][LOG_PIECE] __attribute__((aligned(4096)));
};

extern struct pump pump;

/* Around all that may wait for a file system: that of this outlet's log, or NULL. */
void pump_enter(struct outlet *o);
void pump_leave(void);
/* The big buffers are about to be used: their memory is given back after a second without that. */
void pump_touch(void);
/* Calls control. */
void pump_call(void);
/* Calls control because of an outlet. */
void pump_say(struct outlet *o, enum pump_news news);
/* The same with an outcome: of OPEN, MAKE or REOPEN, whose news have the same bits. */
void pump_answer(struct outlet *o, enum pump_news news, int error);
/* Lets control take what is kept for clients before that is overwritten, if control is only late. A command ends it. */
void pump_let_catch_up(void);
/* The same amid a command: those that came meanwhile have been seen, and are done afterwards. */
void pump_let_catch_up_again(void);
/* The same of a REOPEN. */
void pump_answer_reopen(struct outlet *o, uint32_t reopening, int error, uint64_t inode);
/* Calls control because of what is kept for clients. */
void pump_call_attached(void);

/* pump-watch.c: 0 or -errno. */
int watch_open(void);
void watch_close(void);
int watch_fd(void);

/* pump-outlet.c */
void outlet_obey(struct outlet *o, unsigned commands);
/* What there is of lines without a line feed. */
bool outlet_has_tail(const struct outlet *o);

/* pump-log.c: each does as the command of that name, and answers. */
void outlet_log_open(struct outlet *o);
void outlet_log_make(struct outlet *o);
void outlet_log_reopen(struct outlet *o);
/* Passes on what the log says of itself, if that is new. */
void outlet_report(struct outlet *o);

/* pump-hold.c */
/* Nothing is read of it, and nothing wakes the pump because of it, before the limits of its log allow that. */
void outlet_hold(struct outlet *o);
/* Reads on, if it was held. */
void outlet_resume(struct outlet *o);
/* Watches its streams; or tries again soon, when the kernel has no memory for that. */
void outlet_listen(struct outlet *o);
/* It is not held any more, and is read no more either. */
void outlet_unhold(struct outlet *o);

/* pump-copy.c */
void copy_write(const struct outlet *o);
void copy_remove(const struct outlet *o);

/* pump-filter.c */
/* Confines the calling thread to what the pump does. 0; or -errno, and it is not. */
int filter_install(void);

/* monitor-attach.c: what a container has said, for all who are attached. True: control is to catch up. */
bool attach_tee(struct outlet *o, uint8_t stream, const char *data, size_t length);

#endif
