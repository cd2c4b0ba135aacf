import { fromJSON } from "@grpc/proto-loader";
import { loadOptions, readDescriptor } from "./descriptor.ts";

export interface Field {
  /** In JavaScript. */
  readonly name: string;
  /** In api.proto. */
  readonly snake: string;
  /** The type of its message or messages; "" for the rest, maps among it. */
  readonly message: string;
  /** Values that are not its default: of an enumeration every one, of the rest one. */
  readonly samples: readonly unknown[];
}

/** The fields of each message of the API. */
export type MessageTypes = ReadonlyMap<string, readonly Field[]>;

interface FieldDescriptor {
  readonly name: string;
  readonly type: string;
  readonly typeName: string;
  readonly label: string;
}

interface Descriptor {
  readonly name: string;
  readonly field?: readonly FieldDescriptor[];
  readonly value?: readonly { readonly name: string }[];
}

export function messageTypes(): MessageTypes {
  const all = new Map(
    Object.values(fromJSON(readDescriptor(), loadOptions)).flatMap((entry) =>
      "format" in entry ? [[(entry.type as Descriptor).name, entry.type as Descriptor] as const] : [],
    ),
  );
  const messages = [...all].filter(([, { value }]) => value === undefined);
  return new Map(messages.map(([name, { field = [] }]) => [name, field.map((one) => toField(all, one))]));
}

function toField(all: ReadonlyMap<string, Descriptor>, { name, type, typeName, label }: FieldDescriptor): Field {
  const target = all.get(typeName.split(".").pop() ?? "");
  const message = type === "TYPE_MESSAGE" ? (target?.name ?? "") : "";
  // A map's entries are a nested message, which is not among them.
  const isMap = type === "TYPE_MESSAGE" && message === "";
  const single = isMap ? [{ x: "x" }] : samplesOf(type, target);
  const samples = label === "LABEL_REPEATED" && !isMap ? single.map((value) => [value]) : single;
  return { name, snake: snakeCase(name), message, samples };
}

function samplesOf(type: string, target: Descriptor | undefined): readonly unknown[] {
  switch (type) {
    case "TYPE_ENUM":
      return target?.value?.map(({ name }) => name) ?? [];
    case "TYPE_MESSAGE":
      return [{}];
    case "TYPE_BOOL":
      return [true];
    case "TYPE_STRING":
      return ["x"];
    case "TYPE_BYTES":
      return [Buffer.from("x")];
    default:
      return [1];
  }
}

/** The other way than descriptor.ts goes. `CDIDevices` is `CDI_devices` there. */
function snakeCase(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, (_, before: string, letter: string) => `${before}_${letter.toLowerCase()}`)
    .replace(/^([A-Z]+)([A-Z][a-z])/, (_, word: string, next: string) => `${word}_${next.toLowerCase()}`);
}
