import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Perl is part of every Debian, and Node has no datagram sockets of the unix family. */
const receiver = `
use Socket; $| = 1;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
my $path = $ARGV[0]; $path =~ s/^@/\\0/;
bind($s, pack_sockaddr_un($path)) or die "bind: $!";
print "listening\\n";
while (defined recv($s, my $text, 65536, 0)) { $text =~ s/\\n/ /g; print "$text\\n"; }
`;

/** A stand-in for a service manager: what it is told, a line for each datagram. Disposing it ends it. */
export class NotifySocket implements AsyncDisposable {
  readonly #child: ReturnType<typeof spawn>;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ReturnType<typeof spawn>, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  /** `address` is a path, or "@name" for an abstract socket. */
  static async listen(address: string): Promise<NotifySocket> {
    const child = spawn("perl", ["-e", receiver, address], { stdio: ["ignore", "pipe", "inherit"] });
    const socket = new NotifySocket(child, createInterface(child.stdout)[Symbol.asyncIterator]());
    if ((await socket.next()) !== "listening") throw new Error(`cannot listen on ${address}`);
    return socket;
  }

  /** The next datagram. */
  async next(): Promise<string> {
    return (await this.#lines.next()).value ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once("exit", () => resolve());
    this.#child.kill();
    await promise;
  }
}
