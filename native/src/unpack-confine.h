/* The rights of a process that unpacks a layer. */
#ifndef NACELLE_UNPACK_CONFINE_H
#define NACELLE_UNPACK_CONFINE_H

/*
 * Enters `dir` as the root and the only mount, and keeps descriptors 0 to 2, seven capabilities, and the calls that making
 * files needs. Names the step that failed, with errno set; or NULL. For a process with one thread, once.
 */
const char *unpack_confine(const char *dir);

#endif
