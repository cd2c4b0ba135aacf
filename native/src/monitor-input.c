#include <errno.h>
#include <unistd.h>

#include "monitor.h"

/* Every connection that holds a frame back looks again whether that has room now. */
static void resume_all(struct monitor *m)
{
	for (size_t i = 0; i < MAX_CONNECTIONS; i++) {
		struct connection *c = &m->connections[i];

		if (connection_is_open(c) && c->held && (c->exec || c->attach))
			connection_resume(c);
	}
}

static void ready(struct source *source, uint32_t events)
{
	struct input *input = container_of(source, struct input, source);

	/* A pipe without a reader: nobody takes anything any more. A terminal says so in write(2), if it is true. */
	if ((events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLOUT)) {
		input_close(input);
		return;
	}
	(void)loop_watch(&input->monitor->loop, source, &input->events, 0);
	if (input->owner)
		connection_resume(input->owner);
	resume_all(input->monitor);
}

void input_open(struct input *input, struct monitor *m, int fd)
{
	*input = (struct input){ .source = { .fd = fd, .ready = ready }, .monitor = m };
}

void input_close(struct input *input)
{
	if (input->source.fd < 0)
		return;
	loop_close(&input->monitor->loop, &input->source);
	input->owner = NULL;
	resume_all(input->monitor);
}

void input_forget(struct input *input, struct connection *c)
{
	if (input->owner != c)
		return;
	input->owner = NULL;
	resume_all(input->monitor);
}

/* True when all of it was taken or dropped. */
static bool feed(struct input *input, struct connection *c, struct span data)
{
	if (input->owner && input->owner != c)
		return false;
	while (input->source.fd >= 0 && c->fed < data.length) {
		ssize_t n = write(input->source.fd, data.data + c->fed, data.length - c->fed);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			input->owner = c;
			if (loop_watch(&input->monitor->loop, &input->source, &input->events, EPOLLOUT) == 0)
				return false;
		}
		if (n <= 0) {
			/* EPIPE, or a terminal without a process: what is not taken any more is dropped. */
			input->owner = NULL;
			input_close(input);
			break;
		}
		c->fed += (size_t)n;
	}
	input->owner = NULL;
	c->fed = 0;
	return true;
}

static bool take(struct connection *c, struct reader *r)
{
	struct span data = wire_bytes(r);
	struct input *input = NULL;

	if (r->bad || (c->exec && !exec_input(c->exec, &input)))
		return r->bad;
	if (c->attach)
		input = attach_input(c->attach);
	return !input || feed(input, c, data);
}

static bool resize(struct connection *c, struct reader *r)
{
	uint16_t width = wire_u16(r);
	uint16_t height = wire_u16(r);
	struct input *input;

	if (r->bad || (c->exec && !exec_input(c->exec, &input)))
		return r->bad;
	if (c->exec)
		exec_resize(c->exec, width, height);
	else if (c->attach)
		attach_resize(c->attach, width, height);
	return true;
}

/* As if ^D were typed, where that means something: it takes its turn like all that is typed. */
static bool type_end(struct input *input, struct connection *c)
{
	int character = terminal_end_character(input->source.fd);
	uint8_t typed = (uint8_t)character;

	return character < 0 || feed(input, c, (struct span){ .data = &typed, .length = 1 });
}

bool input_handle(struct connection *c, uint16_t type, struct reader *r)
{
	struct input *input;

	if (type == MSG_INPUT)
		return take(c, r);
	if (type == MSG_RESIZE)
		return resize(c, r);
	if (c->exec && !exec_input(c->exec, &input))
		return false;
	if (c->exec && input && exec_has_terminal(c->exec))
		return type_end(input, c);
	if (c->exec)
		exec_end_input(c->exec);
	else if (c->attach)
		attach_end_input(c->attach);
	return true;
}
