const FIRST_BYTES = 16_384;

/** Protocol buffers, written one after another into a buffer that grows. */
export class MessageWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  #at = 0;

  /** A non-negative integer below 2^53. */
  varint(value: number): void {
    this.#room(10);
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at++] = rest;
  }

  /** Any integer of 64 bits; a negative one as its two's complement. Halves: arithmetic on a bigint makes a new one each time. */
  bigVarint(value: bigint): void {
    this.#room(10);
    let low = Number(BigInt.asUintN(32, value));
    let high = Number(BigInt.asUintN(32, value >> 32n));
    while (high > 0) {
      this.#bytes[this.#at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.varint(low);
  }

  double(value: number): void {
    this.#room(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  /** A text with its length. */
  text(value: string): void {
    const start = this.begin();
    this.#room(value.length * 3);
    this.#at += this.#bytes.write(value, this.#at, "utf8");
    this.end(start);
  }

  /** Bytes with their length. */
  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /** What is written from here to `end` is to have its length before it, for which one byte is kept. */
  begin(): number {
    this.#room(1);
    this.#at += 1;
    return this.#at;
  }

  /** Moves what was written since, if its length needs more than the one byte. */
  end(start: number): void {
    const length = this.#at - start;
    let more = 0;
    for (let rest = length; rest > 0x7f; rest = Math.floor(rest / 0x80)) more += 1;
    if (more > 0) {
      this.#room(more);
      this.#bytes.copyWithin(start + more, start, this.#at);
    }
    this.#at = start - 1;
    this.varint(length);
    this.#at += length;
  }

  /** All of it; nothing is to be written afterwards. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #room(length: number): void {
    if (this.#bytes.length - this.#at >= length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + length));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}
