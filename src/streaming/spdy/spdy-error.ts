/** The client has broken the protocol: the connection is of no further use. */
export class SpdyError extends Error {
  override readonly name = "SpdyError";
}
