import type { MethodDefinition, ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";
import { DomainError } from "../lib/errors.ts";
import { type CallObserver, type ServerStreaming, serverStreaming, type Unary, unary } from "./handler.ts";

/** Every call of a service by name, with the messages that its definition gives it. */
type Calls<Definition> = {
  [Name in keyof Definition as string extends Name
    ? never
    : number extends Name
      ? never
      : Name]: Definition[Name] extends Typed<infer Request, infer Response>
    ? { readonly request: Request; readonly response: Response }
    : never;
};

/** What the generated definitions say: the request as it is read, the response as it may be written. */
interface Typed<Request, Response> {
  requestDeserialize(bytes: Buffer): Request;
  responseSerialize(value: Response): Buffer;
}

/** Handlers for calls with one answer; those that are left out answer UNIMPLEMENTED. */
export type UnaryTable<Definition> = {
  readonly [Name in keyof Calls<Definition>]?: Unary<
    Calls<Definition>[Name]["request"],
    Calls<Definition>[Name]["response"]
  >;
};

/** Handlers for calls with a stream of answers; those that are left out answer UNIMPLEMENTED. */
export type StreamTable<Definition> = {
  readonly [Name in keyof Calls<Definition>]?: ServerStreaming<
    Calls<Definition>[Name]["request"],
    Calls<Definition>[Name]["response"]
  >;
};

/**
 * One grpc-js handler for every call that the definition knows, so that a call that the API gains cannot be
 * forgotten: it answers UNIMPLEMENTED with its name until it gets a handler.
 */
export function serviceHandlers<Definition extends ServiceDefinition>(
  definition: Definition,
  unaries: UnaryTable<Definition>,
  streams: StreamTable<Definition>,
  observe: CallObserver,
): UntypedServiceImplementation {
  const handlers: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries<MethodDefinition<unknown, unknown>>(definition)) {
    handlers[name] = method.responseStream
      ? serverStreaming(name, entry<ServerStreaming<unknown, unknown>>(streams, name) ?? unimplemented(name), observe)
      : unary(name, entry<Unary<unknown, unknown>>(unaries, name) ?? unimplemented(name), observe);
  }
  return handlers;
}

function unimplemented(name: string): () => never {
  return () => {
    throw new DomainError("unimplemented", `${name} is not implemented`);
  };
}

/** The tables' types say more than a name that is only known at run time can. */
function entry<Handler>(table: object, name: string): Handler | undefined {
  return (table as Readonly<Record<string, Handler>>)[name];
}
