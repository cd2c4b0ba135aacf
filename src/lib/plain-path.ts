/** The parts of a path of plain names, as cgroups have; `undefined` for ".", "..", odd characters, too much, or no part at all. */
export function plainParts(text: string): readonly string[] | undefined {
  const parts = text.split("/").filter((part) => part !== "");
  return text.length <= 1024 && parts.length > 0 && parts.every(isPlain) ? parts : undefined;
}

function isPlain(part: string): boolean {
  return part !== "." && part !== ".." && part.length <= 255 && /^[A-Za-z0-9:_.@\\+=,~-]+$/.test(part);
}
