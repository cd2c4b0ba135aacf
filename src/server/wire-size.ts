/**
 * Measures items of a list as they will travel: a message of one item, encoded. Twice the work of sending, and exact;
 * only the streams do it.
 */
export function wireSize<Item, Response>(
  method: { responseSerialize(value: Response): Buffer },
  inList: (item: Item) => Response,
): (item: Item) => number {
  return (item) => method.responseSerialize(inList(item)).byteLength;
}
