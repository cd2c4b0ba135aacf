/* Requests that wait for the pump. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "monitor-container.h"
#include "sys.h"

bool park(struct monitor *m, struct parked *p, struct request *to, const struct reader *payload, uint32_t deadline,
	  void (*late)(struct timer *timer))
{
	size_t length = (size_t)(payload->end - payload->at);
	void *copy = NULL;

	/* Not malloc'ed: it goes back as a whole. */
	if (length > 0)
		copy = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED) {
		reply_text(m, to, ERR_SYSCALL, ENOMEM, "mmap");
		return false;
	}
	if (length > 0)
		memcpy(copy, payload->at, length);
	p->request = *to;
	to->type = 0;
	p->payload = copy;
	p->length = length;
	p->until = sys_monotonic_ms() + deadline;
	timer_set(&m->timers, &p->timer, deadline, late);
	return true;
}

struct reader parked_payload(const struct parked *p)
{
	return wire_reader(p->payload, p->length);
}

uint32_t parked_time(const struct parked *p)
{
	uint64_t now = sys_monotonic_ms();

	return now < p->until ? (uint32_t)(p->until - now) : 1;
}

void unpark(struct monitor *m, struct parked *p)
{
	timer_clear(&m->timers, &p->timer);
	if (p->payload)
		(void)munmap(p->payload, p->length);
	*p = (struct parked){ .payload = NULL };
}

void parked_late(struct monitor *m, struct parked *p, const char *path)
{
	static const char what[] = "the file system of the log does not answer";

	reply_error(m, &p->request, ERR_TIMEOUT, 0, (struct span){ .data = (const uint8_t *)what, .length = sizeof(what) - 1 }, path);
}
