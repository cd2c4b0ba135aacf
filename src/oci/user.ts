import { invalidArgument } from "../lib/errors.ts";

/**
 * The largest id we hand to the kernel. 2^32-1 means "unchanged" to chown and setresuid, and runtimes
 * keep ids in 32 signed bits: what overflows there has become root before, so it is refused here.
 */
const MAX_ID = 0x7fff_ffff;

/** What the CRI says of a container's user. */
export interface UserRequest {
  readonly runAsUser: number | undefined;
  readonly runAsGroup: number | undefined;
  /** Empty: not given. */
  readonly runAsUsername: string;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy: "merge" | "strict";
}

/** The identity that a container's processes get. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Sorted, unique, the primary group among them (or a setgid file's owner group could be dropped at will). */
  readonly supplementalGroups: readonly number[];
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: string;
  readonly gid: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: string;
  readonly members: readonly string[];
}

/**
 * Who a container's process is, from the request, the image's `User` and the texts of the container's
 * own /etc/passwd and /etc/group (empty when absent; the caller bounds their size).
 * Digits are always an id and never looked up as a name; a name must have an entry with ids in range.
 * Throws `invalidArgument` naming the field otherwise.
 */
export function resolveUser(request: UserRequest, imageUser: string, passwd: string, group: string): ResolvedUser {
  checkRequest(request);
  const users = parsePasswd(passwd);
  const groups = parseGroup(group);
  const chosen = chooseUser(request, imageUser, users, groups);
  const gid = request.runAsGroup ?? chosen.gid;
  const ids = new Set([gid, ...request.supplementalGroups]);
  if (request.supplementalGroupsPolicy === "merge" && chosen.name !== undefined) {
    for (const id of memberships(groups, chosen.name)) ids.add(id);
  }
  return { uid: chosen.uid, gid, supplementalGroups: [...ids].toSorted((a, b) => a - b) };
}

/** The part of an image's `User` that names the user: an id, or a name; neither for an empty text. */
export function imageUserIdentity(imageUser: string): { readonly uid: number | undefined; readonly username: string } {
  const [user = ""] = imageUser.split(":", 1);
  if (!isDigits(user)) return { uid: undefined, username: user };
  return { uid: idFrom(user, "the image's User"), username: "" };
}

function checkRequest(request: UserRequest): void {
  const { runAsUser, runAsGroup, runAsUsername } = request;
  if (runAsGroup !== undefined && runAsUser === undefined && runAsUsername === "") {
    throw invalidArgument("run_as_group is given without run_as_user or run_as_username: give one of them too");
  }
  if (runAsUser !== undefined && runAsUsername !== "") {
    throw invalidArgument("run_as_user and run_as_username are both given: give one of them");
  }
  if (runAsUser !== undefined) checkId(runAsUser, "run_as_user");
  if (runAsGroup !== undefined) checkId(runAsGroup, "run_as_group");
  for (const id of request.supplementalGroups) checkId(id, "supplemental_groups");
}

interface ChosenUser {
  readonly uid: number;
  readonly gid: number;
  /** The name by which /etc/group lists members; absent for an id without an entry. */
  readonly name: string | undefined;
}

function chooseUser(
  request: UserRequest,
  imageUser: string,
  users: readonly PasswdEntry[],
  groups: readonly GroupEntry[],
): ChosenUser {
  if (request.runAsUsername !== "") return byName(request.runAsUsername, users, "run_as_username");
  if (request.runAsUser !== undefined) return byId(request.runAsUser, users);
  return fromImage(imageUser, users, groups);
}

/** `user[:group]`, each an id or a name; an empty user is root. */
function fromImage(text: string, users: readonly PasswdEntry[], groups: readonly GroupEntry[]): ChosenUser {
  const field = "the image's User";
  const [user = "", group = "", ...rest] = text.split(":");
  if (rest.length > 0) throw invalidArgument(`${field} ${quote(text)} is not of the form user[:group]`);
  const chosen =
    user === "" || isDigits(user) ? byId(user === "" ? 0 : idFrom(user, field), users) : byName(user, users, field);
  if (group === "") return chosen;
  if (isDigits(group)) return { ...chosen, gid: idFrom(group, field) };
  const entry = groups.find((candidate) => candidate.name === group);
  if (entry === undefined) throw invalidArgument(`${field} names group ${quote(group)}, which is not in /etc/group`);
  return { ...chosen, gid: idFrom(entry.gid, `/etc/group's entry of ${quote(group)}`) };
}

function byName(name: string, users: readonly PasswdEntry[], field: string): ChosenUser {
  const entry = users.find((candidate) => candidate.name === name);
  // useradd makes no such name: only a number that is none looks like this, and an image could make it root's.
  if (/^[+-]/.test(name)) throw invalidArgument(`${field} ${quote(name)} is neither an id nor a name`);
  if (entry === undefined) throw invalidArgument(`${field} ${quote(name)} has no entry in the container's /etc/passwd`);
  const place = `/etc/passwd's entry of ${quote(name)}`;
  return { uid: idFrom(entry.uid, place), gid: idFrom(entry.gid, place), name };
}

function byId(uid: number, users: readonly PasswdEntry[]): ChosenUser {
  const entry = users.find((candidate) => isDigits(candidate.uid) && Number(candidate.uid) === uid);
  if (entry === undefined) return { uid, gid: 0, name: undefined };
  return { uid, gid: idFrom(entry.gid, `/etc/passwd's entry of ${quote(entry.name)}`), name: entry.name };
}

/** Groups whose id cannot be one are not memberships: the file is the image's, and root's must not fall out of it. */
function memberships(groups: readonly GroupEntry[], name: string): readonly number[] {
  return groups
    .filter((entry) => entry.members.includes(name) && isDigits(entry.gid) && Number(entry.gid) <= MAX_ID)
    .map((entry) => Number(entry.gid));
}

function parsePasswd(text: string): readonly PasswdEntry[] {
  return records(text, 4).map(([name = "", , uid = "", gid = ""]) => ({ name, uid, gid }));
}

function parseGroup(text: string): readonly GroupEntry[] {
  return records(text, 3).map(([name = "", , gid = "", members = ""]) => ({
    name,
    gid,
    members: members.split(",").map((member) => member.trim()),
  }));
}

function records(text: string, fields: number): readonly (readonly string[])[] {
  return text
    .split("\n")
    .map((line) => line.trim().split(":"))
    .filter((parts) => parts.length >= fields && parts[0] !== "" && !parts[0]?.startsWith("#"));
}

function isDigits(text: string): boolean {
  return /^[0-9]+$/.test(text);
}

function idFrom(text: string, field: string): number {
  if (!isDigits(text)) throw invalidArgument(`${field} holds ${quote(text)}, which is not a number`);
  const id = Number(text);
  checkId(id, field);
  return id;
}

function checkId(id: number, field: string): void {
  if (Number.isSafeInteger(id) && id >= 0 && id <= MAX_ID) return;
  throw invalidArgument(`${field} ${id} is out of range: ids are 0 to ${MAX_ID}`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
