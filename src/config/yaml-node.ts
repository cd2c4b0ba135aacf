import {
  EVENT_ID,
  type Event,
  getScalarValue,
  parseEvents,
  SCALAR_STYLE,
  type ScalarEvent,
  YAMLException,
} from "js-yaml";
import { type DomainError, invalidArgument } from "../lib/errors.ts";

/** Where a value was written. */
export interface Position {
  /** A file, or "--set key=value", or "default". */
  readonly source: string;
  /** From 1; 0 where lines mean nothing. */
  readonly line: number;
}

/** A YAML value with its place. Scalars are kept as text: what they mean is for the schema to say, not for YAML. */
export type Node =
  | { readonly kind: "scalar"; readonly text: string; readonly quoted: boolean; readonly at: Position }
  | { readonly kind: "list"; readonly items: readonly Node[]; readonly at: Position }
  | { readonly kind: "map"; readonly entries: ReadonlyMap<string, Node>; readonly at: Position };

/** Nothing was written after the colon, or null was. */
export function isEmpty(node: Node): boolean {
  return node.kind === "scalar" && !node.quoted && ["", "~", "null"].includes(node.text);
}

/** An error at a place: "file:line: message". */
export function errorAt(at: Position, message: string, key = ""): DomainError {
  const place = at.line > 0 ? `${at.source}:${at.line}` : at.source;
  return invalidArgument(`${place}: ${message}`, { file: at.source, line: at.line, key });
}

/** Reads one document; an empty one is undefined. Throws `invalidArgument` with file and line. */
export function parseYaml(text: string, source: string, lines = true): Node | undefined {
  let events: Event[];
  try {
    events = parseEvents(text, { filename: source });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    throw errorAt({ source, line: lines ? (error.mark?.line ?? -1) + 1 : 0 }, `not YAML: ${error.reason}`);
  }
  return new Composer(text, source, lines, events).document();
}

/** `over` on top of `under`: maps are merged by key, everything else replaces. An empty value changes nothing. */
export function merge(under: Node, over: Node): Node {
  if (isEmpty(over)) return under;
  if (under.kind !== "map" || over.kind !== "map") return over;
  const entries = new Map(under.entries);
  for (const [key, value] of over.entries) {
    const existing = entries.get(key);
    entries.set(key, existing === undefined ? value : merge(existing, value));
  }
  return { kind: "map", entries, at: over.at };
}

class Composer {
  readonly #text: string;
  readonly #source: string;
  readonly #lines: boolean;
  readonly #events: readonly Event[];
  #next = 0;
  #offset = 0;
  #line = 1;

  constructor(text: string, source: string, lines: boolean, events: readonly Event[]) {
    this.#text = text;
    this.#source = source;
    this.#lines = lines;
    this.#events = events;
  }

  document(): Node | undefined {
    if (this.#take()?.type !== EVENT_ID.DOCUMENT) return undefined;
    const root = this.#peekPop() ? undefined : this.#node();
    this.#take();
    if (this.#take() !== undefined) throw errorAt(this.#at(), "holds more than one document");
    return root === undefined || isEmpty(root) ? undefined : root;
  }

  #node(): Node {
    const event = this.#take();
    switch (event?.type) {
      case EVENT_ID.SCALAR:
        return this.#scalar(event);
      case EVENT_ID.SEQUENCE:
        return this.#list(this.#at(event.start));
      case EVENT_ID.MAPPING:
        return this.#map(this.#at(event.start));
      default:
        throw errorAt(this.#at(), "anchors and aliases are not understood here: write the value out");
    }
  }

  #scalar(event: ScalarEvent): Node & { readonly kind: "scalar" } {
    const at = this.#at(event.valueStart);
    if (event.tagStart >= 0) throw errorAt(at, "tags are not understood here: write the plain value");
    const text = getScalarValue(this.#text, event);
    return { kind: "scalar", text, quoted: event.style !== SCALAR_STYLE.PLAIN, at };
  }

  #list(at: Position): Node {
    const items: Node[] = [];
    while (!this.#peekPop()) items.push(this.#node());
    this.#take();
    return { kind: "list", items, at };
  }

  #map(at: Position): Node {
    const entries = new Map<string, Node>();
    while (!this.#peekPop()) {
      const key = this.#node();
      if (key.kind !== "scalar") throw errorAt(key.at, "a key must be a word");
      const value = this.#node();
      if (entries.has(key.text)) throw errorAt(key.at, `key ${key.text} is given twice`, key.text);
      // A nested value starts on the next line; its key's line is where a person looks.
      entries.set(key.text, { ...value, at: key.at });
    }
    this.#take();
    return { kind: "map", entries, at };
  }

  #take(): Event | undefined {
    const event = this.#events[this.#next];
    this.#next += 1;
    return event;
  }

  #peekPop(): boolean {
    const type = this.#events[this.#next]?.type;
    return type === EVENT_ID.POP || type === undefined;
  }

  /** The line of an offset. Offsets come in order, so each newline is counted once. */
  #at(offset = this.#offset): Position {
    if (!this.#lines) return { source: this.#source, line: 0 };
    for (; this.#offset < offset; this.#offset += 1) if (this.#text[this.#offset] === "\n") this.#line += 1;
    return { source: this.#source, line: this.#line };
  }
}
