/**
 * What the launcher does for the daemon. Every call runs in a child of the launcher with a deadline,
 * so that a hung plugin, a dead volume or a slow disk holds up its own caller and nobody else.
 * A list of operations runs in order in one child and stops at the first that fails.
 */
export type Operation =
  /** Makes a directory; `parents` makes missing parents (0755) too. Existing directory: nothing to do. */
  | { readonly op: "mkdir"; readonly path: string; readonly mode: number; readonly parents?: boolean }
  /** Removes an empty directory. Absent: nothing to do. */
  | { readonly op: "rmdir"; readonly path: string }
  /** Removes a file. Absent: nothing to do. */
  | { readonly op: "unlink"; readonly path: string }
  /** Removes a tree without following links and without crossing into another mount (EBUSY). Absent: nothing to do. */
  | { readonly op: "rmtree"; readonly path: string }
  /** Creates or replaces a regular file (temp + rename). */
  | { readonly op: "writeFile"; readonly path: string; readonly mode: number; readonly data: Buffer }
  /** Appends nothing, creates nothing: writes to an existing kernel file (sysctl, cgroup) with one write(2). */
  | { readonly op: "writeKernelFile"; readonly path: string; readonly data: Buffer }
  | { readonly op: "rename"; readonly from: string; readonly to: string }
  /** mount(2). `flags` are MS_* bits. `chdir`, if set, is entered first, so that `data` may hold relative paths. */
  | {
      readonly op: "mount";
      readonly source: string;
      readonly target: string;
      readonly type: string;
      readonly flags: number;
      readonly data: string;
      readonly chdir?: string;
    }
  /**
   * Mounts an overlay on `target` whose `lower` directories (top first, relative to `chdir`) are id-mapped: an id of theirs
   * appears as what the user namespace pinned at `user` maps it to. `data` are the further options. All or nothing.
   */
  | {
      readonly op: "mountOverlay";
      readonly user: string;
      readonly target: string;
      readonly lower: readonly string[];
      readonly data: string;
      readonly chdir: string;
    }
  /** Fails at `mount_setattr` when what is at `path` cannot be id-mapped by the user namespace pinned at `user`; mounts nothing. */
  | { readonly op: "tryIdmap"; readonly user: string; readonly path: string }
  /** lchown(2). */
  | { readonly op: "chown"; readonly path: string; readonly uid: number; readonly gid: number }
  /** umount2(2) with MNT_DETACH|UMOUNT_NOFOLLOW until nothing is mounted there. Not mounted or absent: nothing to do. */
  | { readonly op: "unmount"; readonly target: string }
  /**
   * Makes new namespaces of the kinds given and pins each by a bind mount on its path (files are made). They belong to
   * the user namespace pinned at `user`, or to the host's.
   * In a new network namespace `lo` is up; in a new UTS namespace the host name is set. `sysctls` (pairs of a path
   * below /proc/sys and a value) are written inside them. All or nothing: pins of a failed call are gone.
   */
  | {
      readonly op: "namespaces";
      readonly net?: string;
      readonly ipc?: string;
      readonly uts?: string;
      readonly hostname?: string;
      readonly sysctls?: readonly (readonly [string, string])[];
      readonly user?: string;
    }
  /** Makes a user namespace with these maps (as in /proc/PID/uid_map, "0 100000 65536") and pins it on `path`. */
  | { readonly op: "userNamespace"; readonly path: string; readonly uidMap: string; readonly gidMap: string }
  /** Unmounts and unlinks a pinned namespace. Absent: nothing to do. */
  | { readonly op: "unpin"; readonly path: string }
  /** Result: "type mode uid gid rdev size" in decimal, type one of f d l c b p s; follows links. ENOENT fails. */
  | { readonly op: "stat"; readonly path: string }
  /**
   * Result: of every character and block device in the directory and those in it, "type mode uid gid rdev path" in decimal,
   * `path` relative to the directory, each with a NUL. Links are not followed and mounts not entered, but for the directory
   * itself. ENOENT and ENOTDIR fail; so do more than 128 KiB (EFBIG) and more than 16 levels (ELOOP).
   */
  | { readonly op: "devices"; readonly path: string }
  /** Result: the canonical absolute path (realpath(3)). */
  | { readonly op: "realpath"; readonly path: string }
  /** Result: the bytes of a file below `root`, resolved with openat2(RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS). EFBIG beyond `max` (≤ 131072). */
  | { readonly op: "readInRoot"; readonly root: string; readonly path: string; readonly max: number }
  /** Bind-mounts the directory `path` below `root`, resolved as above, on `target`. ENOENT, ENOTDIR fail; mounts in it are not taken along. */
  | { readonly op: "bindInRoot"; readonly root: string; readonly path: string; readonly target: string }
  /**
   * Copies what the directory `path` below `root`, resolved as above, holds into the existing directory `target`, which gets
   * its owner, mode, xattrs and times. Links are copied, never followed; a file of several names keeps them (EMLINK beyond
   * 65,536 such files); mounts are not crossed (EXDEV); at most 256 levels (ELOOP). Absent path: nothing to do.
   */
  | { readonly op: "copyInRoot"; readonly root: string; readonly path: string; readonly target: string }
  /**
   * Makes a directory and its parents (0755) below `root`, resolved as above at every step; what is made belongs to `owner`,
   * or to root. Result: the resolved path relative to root.
   */
  | {
      readonly op: "mkdirInRoot";
      readonly root: string;
      readonly path: string;
      readonly mode: number;
      readonly owner?: { readonly uid: number; readonly gid: number };
    }
  /** syncfs(2) of the file system that holds `path`. */
  | { readonly op: "syncfs"; readonly path: string }
  /** Kills every process in the cgroup directories given (all hierarchies of one cgroup) and waits until they are empty. */
  | { readonly op: "killCgroup"; readonly paths: readonly string[] }
  /** Removes cgroup directories with their empty children. Absent: nothing to do. */
  | { readonly op: "removeCgroup"; readonly paths: readonly string[] }
  /**
   * Sets oom_score_adj (-1000 to 1000) of every process in the cgroup directory and those below it, those that are forked
   * meanwhile included. A process that ends, or left the cgroup, is passed over. Absent directory: ENOENT. EACCES for a value
   * that needs CAP_SYS_RESOURCE.
   */
  | { readonly op: "setOomScoreAdj"; readonly path: string; readonly value: number }
  /** Result: "bsize blocks bfree files ffree" of statfs(2). */
  | { readonly op: "statfs"; readonly path: string }
  /** Result: "bytes inodes": allocated bytes and inodes of a tree, not crossing mounts. With the lowest priority, as what follows it in the same call. */
  | { readonly op: "diskUsage"; readonly path: string };

export interface OperationOptions {
  /** Whose work this is, for the record that a later daemon fences by: a sandbox or container id, or "images". At most 64 bytes. */
  readonly owner: string;
  /** What the operation is called in messages ("mount of the root file system"). */
  readonly what: string;
  readonly deadlineMs: number;
}

export interface RunRequest extends OperationOptions {
  /** argv[0] is an absolute path: nothing is searched and no shell is involved. */
  readonly argv: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly stdin?: Buffer;
  /** Working directory; "/" unless given. */
  readonly cwd?: string;
}

export interface RunResult {
  readonly outcome: "exited" | "signaled" | "timedOut";
  /** Exit code, or signal number. */
  readonly status: number;
  /** At most 128 KiB. */
  readonly stdout: Buffer;
  /** At most 64 KiB. */
  readonly stderr: Buffer;
  readonly truncated: boolean;
}

/** The port through which everything else uses the launcher. */
export interface Operations {
  /** Runs an executable. Resolves for any outcome; rejects only when it could not be started or the launcher is lost. Aborting kills it. */
  run(request: RunRequest, signal?: AbortSignal): Promise<RunResult>;
  /**
   * Performs `operations` in order; resolves with one result per operation (empty where none is documented).
   * Rejects with an `OperationError` naming the failed one, its errno and path; code "ETIMEDOUT" at the deadline.
   */
  perform(operations: readonly Operation[], options: OperationOptions): Promise<readonly Buffer[]>;
}
