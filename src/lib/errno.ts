import { getSystemErrorMap } from "node:util";

const known = getSystemErrorMap();

/** "ENOENT" and "no such file or directory" of Linux's 2; libuv, which knows both, does not know every errno. */
export function describeErrno(errno: number): { readonly code: string; readonly text: string } {
  const [code = `errno ${errno}`, text = ""] = known.get(-errno) ?? [];
  return { code, text };
}
