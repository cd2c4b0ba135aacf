import { checkConfig } from "../config/check.ts";
import { allSettings } from "../config/document.ts";
import { type SettingInForce, settingsInForce } from "../config/in-force.ts";
import { type LoadOptions, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

/** One key that reads differently than what is in force. */
export interface ChangedSetting {
  readonly key: string;
  readonly from: string;
  readonly to: string;
  /** False: it needs a restart. */
  readonly isApplied: boolean;
}

/** Which settings differ, in the order of the schema. */
export function changedSettings(
  inForce: readonly SettingInForce[],
  read: readonly SettingInForce[],
): readonly ChangedSetting[] {
  const before = new Map(inForce.map(({ key, value }) => [key, value]));
  const reloadable = new Set(allSettings().flatMap(({ key, setting }) => (setting.reload ? [key] : [])));
  return read
    .filter(({ key, value }) => before.get(key) !== value)
    .map(({ key, value }) => ({ key, from: before.get(key) ?? "", to: value, isApplied: reloadable.has(key) }));
}

/**
 * Reads the configuration again at each SIGHUP: `apply` is called with it when something that can be reloaded differs;
 * one line per key says what changed or needs a restart. A file that is wrong changes nothing and ends nothing.
 */
export function reloadOnHangup(options: LoadOptions, log: Log, apply: (config: Config) => void): Disposable {
  let inForce = settingsInForce(options);
  const reload = () => {
    try {
      const config = loadConfig(options);
      checkConfig(config);
      const changed = changedSettings(inForce, settingsInForce(options));
      if (changed.length === 0) log.info("SIGHUP: the configuration is as it was");
      const applied = new Map(changed.flatMap(({ key, to, isApplied }) => (isApplied ? [[key, to]] : [])));
      inForce = inForce.map((one) => ({ ...one, value: applied.get(one.key) ?? one.value }));
      if (applied.size > 0) apply(config);
      for (const { key, from, to, isApplied } of changed) {
        if (isApplied) log.info("SIGHUP: a setting has changed", { key, from, to });
        else log.warn("SIGHUP: a setting needs a restart", { key, from, to });
      }
    } catch (error) {
      log.error("SIGHUP: the configuration stays as it was", { error: messageOf(error) });
    }
  };
  process.on("SIGHUP", reload);
  return { [Symbol.dispose]: () => process.off("SIGHUP", reload) };
}
