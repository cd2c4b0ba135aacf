/** A call that failed: the name of its gRPC status, and its text. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly code: string;

  constructor(method: string, code: string, details: string) {
    super(`${method}: ${code}: ${details}`);
    this.code = code;
  }
}
