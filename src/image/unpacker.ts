/**
 * Starts native `unpack` processes; filled by the launcher's START_UNPACK. (native/UNPACK.md says what is spoken on
 * the socket; the daemon itself forks nothing.)
 */
export interface Unpacker {
  /**
   * Starts one `unpack` for the existing, empty directory `dir`, and resolves with the path of a unix socket that
   * accepts one connection, within 10 s. The process ends when that connection does, or when it hears nothing for
   * `silenceMs`.
   */
  startUnpack(dir: string, silenceMs: number): Promise<{ readonly socketPath: string }>;
}
