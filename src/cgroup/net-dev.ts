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
  return text.split("\n").flatMap((line) => {
    const colon = line.lastIndexOf(":");
    const name = line.slice(0, Math.max(0, colon)).trim();
    const values = line
      .slice(colon + 1)
      .trim()
      .split(/ +/);
    if (name === "" || values.length < 16 || !values.every((value) => /^\d{1,20}$/.test(value))) return [];
    const [
      rxBytes = 0,
      rxPackets = 0,
      rxErrors = 0,
      rxDropped = 0,
      ,
      ,
      ,
      ,
      txBytes = 0,
      txPackets = 0,
      txErrors = 0,
      txDropped = 0,
    ] = values.map(Number);
    return [{ name, rxBytes, rxPackets, rxErrors, rxDropped, txBytes, txPackets, txErrors, txDropped }];
  });
}
