/** What is done within so much time on a machine takes longer in one whose processor is emulated (`conformance/vm`). */
export function patience(ms: number): number {
  return process.env["NACELLE_VM"] === undefined ? ms : 8 * ms;
}
