/** How an exec or attach has ended. An attach has no code. */
export type Ending =
  | { readonly kind: "exited"; readonly code: number | undefined }
  | { readonly kind: "failed"; readonly message: string };

/** As the clients of version 4 and 5 read it: a `Status` of the Kubernetes API. */
export function endingAsStatus(ending: Ending): string {
  const message = endingAsText(ending);
  if (message === "") return '{"metadata":{},"status":"Success"}';
  const failure = { metadata: {}, status: "Failure", message };
  if (ending.kind === "failed") return JSON.stringify({ ...failure, reason: "InternalError", code: 500 });
  const details = { causes: [{ reason: "ExitCode", message: String(ending.code) }] };
  return JSON.stringify({ ...failure, reason: "NonZeroExitCode", details });
}

/** As older clients show it; nothing when all went well. */
export function endingAsText(ending: Ending): string {
  if (ending.kind === "failed") return `Internal error occurred: ${ending.message}`;
  const code = ending.code ?? 0;
  return code === 0 ? "" : `command terminated with non-zero exit code: exit status ${code}`;
}
