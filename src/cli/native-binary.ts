import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { failedPrecondition } from "../lib/errors.ts";

/** The path of nacelle-native. Throws `failedPrecondition` (a missing requirement) with the remedy when it is not there. */
export async function nativeBinary(): Promise<string> {
  const path = join(import.meta.dirname, "../../build/nacelle-native");
  const found = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (found) return path;
  throw failedPrecondition(`${path} is missing: run script/setup, or make -C native`, { reason: "missingRequirement" });
}

/** Throws `failedPrecondition` (a missing requirement) unless this process is root. */
export function requireRoot(): void {
  const uid = process.getuid?.();
  if (uid === 0) return;
  throw failedPrecondition(`it needs root and runs as user ${uid}: use sudo`, { reason: "missingRequirement" });
}
