/* The pump's side of an outlet's log: the file that it goes to, and what is told of it. */
#include <unistd.h>

#include "pump.h"

void outlet_report(struct outlet *o)
{
	struct log *log = &o->log;
	unsigned logged = log->news;

	if (logged == 0 && log->lost == o->report.lost)
		return; /* nobody else writes the report's `lost` */
	log->news = 0;
	pump_lock();
	o->report.lost = log->lost;
	o->report.lost_lines = log->lost_lines;
	o->report.log_news |= logged;
	o->report.log_fails = log->error != 0;
	if (logged & (LIMIT_SOFT | LIMIT_HARD))
		o->report.log_size = log->limit.size;
	if (logged & LOG_FAILED)
		o->report.log_error = log->reason;
	if (logged & LOG_RECOVERED) {
		o->report.episode = log->episode;
		o->report.episode_lines = log->episode_lines;
	}
	pump_unlock();
	if (logged)
		pump_say(o, NEWS_LOG);
}

void outlet_log_open(struct outlet *o)
{
	int r;

	pump_enter(o);
	r = log_open(&o->log, o->log.path);
	pump_leave();
	outlet_report(o);
	pump_answer(o, NEWS_OPENED, r);
}

void outlet_log_make(struct outlet *o)
{
	int r;

	pump_enter(o);
	r = log_make(&o->log);
	pump_leave();
	outlet_report(o);
	pump_answer(o, NEWS_MADE, r);
}

/* Who was told that it is not done may put the old file back: so it is done only while it is wanted. */
void outlet_log_reopen(struct outlet *o)
{
	uint32_t asked = atomic_load(&o->reopening);
	uint32_t settled = asked | 1;
	struct log_next next;
	int left;
	int r;

	if (asked == settled)
		return;
	pump_enter(o);
	r = log_next_open(&o->log, &next);
	pump_leave();
	if (atomic_compare_exchange_strong(&o->reopening, &asked, settled)) {
		left = r < 0 ? -1 : log_next_take(&o->log, &next);
		outlet_report(o);
		pump_answer_reopen(o, settled, r, next.inode);
	} else {
		left = r < 0 ? -1 : next.fd;
	}
	pump_enter(o);
	if (left >= 0)
		(void)close(left);
	pump_leave();
}
