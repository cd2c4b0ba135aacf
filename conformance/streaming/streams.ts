import type { CriClient } from "../harness/cri-client.ts";
import { type ClientStream, SpdyClient } from "../harness/spdy-client.ts";

/** What a client asks of an exec; output and errors unless said otherwise. */
export interface ExecOptions {
  readonly stdin?: boolean;
}

/** An exec over SPDY, as kubectl makes one by way of a kubelet. Disposing it breaks the connection. */
export class ExecClient implements AsyncDisposable {
  readonly stdin: ClientStream | undefined;
  readonly stdout: ClientStream;
  readonly #error: ClientStream;
  readonly #client: SpdyClient;

  private constructor(client: SpdyClient, error: ClientStream, stdin: ClientStream | undefined, stdout: ClientStream) {
    this.#client = client;
    this.#error = error;
    this.stdin = stdin;
    this.stdout = stdout;
  }

  static async start(
    cri: CriClient,
    containerId: string,
    cmd: readonly string[],
    { stdin = false }: ExecOptions = {},
  ): Promise<ExecClient> {
    const { url } = await cri.call("Exec", { containerId, cmd, stdin, stdout: true });
    const client = await SpdyClient.connect(url, ["v4.channel.k8s.io"]);
    const open = (streamtype: string) => client.open({ streamtype });
    const error = client.begin({ streamtype: "error" });
    const input = stdin ? await open("stdin") : undefined;
    return new ExecClient(client, error, input, await open("stdout"));
  }

  /** The status that ends it: "Success", or the whole failure as text. */
  async status(): Promise<string> {
    const text = await this.#error.text();
    const { status }: { readonly status?: string } = JSON.parse(text);
    return status === "Success" ? status : text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }
}
