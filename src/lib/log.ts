import { type LogFields, plainFields, toLogfmt } from "./log-record.ts";

/** In order of weight: a level shows itself and what stands before it. */
export const logLevels = ["error", "warn", "info", "debug"] as const;

export type LogLevel = (typeof logLevels)[number];

export type LogFormat = "logfmt" | "json";

/** Where lines go; must neither block nor throw. */
export type LineOutput = (line: string) => void;

interface Settings {
  level: LogLevel;
  format: LogFormat;
  readonly output: LineOutput;
  readonly now: () => Temporal.Instant;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly output: LineOutput;
  /** For tests; default: the clock. */
  readonly now?: () => Temporal.Instant;
}

/**
 * One line per event: `ts`, `level`, `msg`, then the fields of the logger and of the call. Values are cut at 1,024
 * characters, and those of fields named like a secret are hidden. Writing a line never blocks or throws.
 */
export class Log {
  readonly #settings: Settings;
  readonly #fields: LogFields;

  private constructor(settings: Settings, fields: LogFields) {
    this.#settings = settings;
    this.#fields = fields;
  }

  static to(options: LogOptions): Log {
    const { level, format, output, now = () => Temporal.Now.instant() } = options;
    return new Log({ level, format, output, now }, {});
  }

  /** Says nothing; for tests and for commands that have nothing to log. */
  static silent(): Log {
    return Log.to({ level: "error", format: "logfmt", output: () => undefined });
  }

  /** A logger that adds `fields` (call, sandbox, container) to each line. Shares level and format with this one. */
  child(fields: LogFields): Log {
    return new Log(this.#settings, { ...this.#fields, ...fields });
  }

  /** Changes level and format of this logger and all that share them. */
  configure({ level, format }: { readonly level: LogLevel; readonly format: LogFormat }): void {
    this.#settings.level = level;
    this.#settings.format = format;
  }

  isEnabled(level: LogLevel): boolean {
    return logLevels.indexOf(level) <= logLevels.indexOf(this.#settings.level);
  }

  /** Something failed that an operator has to look at. */
  error(message: string, fields: LogFields = {}): void {
    this.#line("error", message, fields);
  }

  /** Something is not as it should be, and nacelle copes. */
  warn(message: string, fields: LogFields = {}): void {
    this.#line("warn", message, fields);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#line("info", message, fields);
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#line("debug", message, fields);
  }

  #line(level: LogLevel, msg: string, fields: LogFields): void {
    if (!this.isEnabled(level)) return;
    const { format, output, now } = this.#settings;
    const head = { ts: now().toString({ fractionalSecondDigits: 3 }), level, msg };
    // First, so that they stand first in the line; and last, so that no field takes their place.
    const record = plainFields({ ...head, ...this.#fields, ...fields, ...head });
    output(format === "json" ? JSON.stringify(record) : toLogfmt(record));
  }
}

/** "auto" is logfmt for a person at a terminal and JSON for a program. */
export function resolveFormat(format: LogFormat | "auto", isTerminal: boolean): LogFormat {
  if (format !== "auto") return format;
  return isTerminal ? "logfmt" : "json";
}
