/** The counters of one network interface, since it was made. */
export interface InterfaceFigures {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** The text of /proc/net/dev: two lines of headings, then "name: 8 numbers received, 8 sent". What is no such line is left out. */
export function parseNetDev(text: string): readonly InterfaceFigures[] {
  const found: InterfaceFigures[] = [];
  for (const line of text.split("\n")) {
    const colon = line.lastIndexOf(":");
    const name = line.slice(0, Math.max(0, colon)).trim();
    const numbers = line.slice(colon + 1).trim();
    if (name === "" || !/^\d{1,20}( +\d{1,20}){15,}$/.test(numbers)) continue;
    const [rxBytes = 0, rxPackets = 0, rxErrors = 0, rxDropped = 0, , , , , ...sent] = numbers.split(/ +/).map(Number);
    const [txBytes = 0, txPackets = 0, txErrors = 0, txDropped = 0] = sent;
    found.push({ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped });
  }
  return found;
}
