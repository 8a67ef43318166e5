/**
 * Record marking (RFC 5531 section 11) as stellar-core uses it: 4 bytes of length, then the body. Bit 31 is always sent as 1
 * and ignored when received. Source: stellar-core TCPPeer.cpp startRead, getIncomingMsgLength; wire.md section 1.
 */

/** Longest body accepted while our own state is below GOT_AUTH, bytes. Source: stellar-core TCPPeer.h. */
export const MAX_UNAUTH_MESSAGE_SIZE = 0x1000;
/** Longest body accepted after authentication, bytes. Source: stellar-core Peer.h. */
export const MAX_MESSAGE_SIZE = 16 * 1024 * 1024;
/** Bytes before a body. */
export const RECORD_HEADER_BYTES = 4;

/** Memory a peer gets for the start of a body before it sent more of it. */
const FIRST_ALLOCATION = 64 * 1024;

/** Receives what a {@link RecordDecoder} finds. */
export interface RecordSink {
  /** One body: `chunk[start..end)`. A view on what was read; copy it to keep it. */
  onRecord(chunk: Uint8Array, start: number, end: number): void;
  /** A length that is not allowed. Nothing more will be decoded. `header` holds the four bytes. */
  onBadLength(length: number, limit: number, header: Uint8Array): void;
}

/**
 * Finds records in a stream that arrives in any chunks. Bodies inside one chunk are handed on without copying; only one
 * that straddles chunks is put together. BOUNDED: holds at most one body, and of that no more than twice what arrived.
 */
export class RecordDecoder {
  /** Longest body accepted from now on. It is looked at when a header is complete. */
  maxBytes = MAX_UNAUTH_MESSAGE_SIZE;
  /** Headers and bodies completed so far: what upstream counts as a read. Part of either does not move it. */
  steps = 0;
  readonly #sink: RecordSink;
  readonly #header = new Uint8Array(RECORD_HEADER_BYTES);
  #headerBytes = 0;
  #body: Uint8Array | null = null;
  #bodyBytes = 0;
  #bodyLength = 0;
  #stopped = false;

  constructor(sink: RecordSink) {
    this.#sink = sink;
  }

  /** Decodes no more: what is left of the current chunk is thrown away. */
  stop(): void {
    this.#stopped = true;
    this.#body = null;
  }

  /** Whether the stream stands between two records. */
  get atBoundary(): boolean {
    return this.#headerBytes === 0 && this.#body === null;
  }

  /** Whether a header was read whose body is not complete. */
  get inBody(): boolean {
    return this.#body !== null;
  }

  /** Takes the next bytes of the stream and calls the sink for every record they complete. */
  push(chunk: Uint8Array): void {
    let at = 0;
    const end = chunk.length;
    while (at < end && !this.#stopped) {
      if (this.#body !== null) {
        at = this.#fillBody(chunk, at);
        continue;
      }
      let length: number;
      if (this.#headerBytes === 0 && end - at >= RECORD_HEADER_BYTES) {
        length = ((chunk[at] & 0x7f) << 24) | (chunk[at + 1] << 16) | (chunk[at + 2] << 8) | chunk[at + 3];
        if (length === 0 || length > this.maxBytes) {
          this.#refuse(length, chunk.slice(at, at + RECORD_HEADER_BYTES));
          return;
        }
        at += RECORD_HEADER_BYTES;
      } else {
        this.#header[this.#headerBytes++] = chunk[at++];
        if (this.#headerBytes < RECORD_HEADER_BYTES) continue;
        const h = this.#header;
        length = ((h[0] & 0x7f) << 24) | (h[1] << 16) | (h[2] << 8) | h[3];
        this.#headerBytes = 0;
        if (length === 0 || length > this.maxBytes) {
          this.#refuse(length, h.slice());
          return;
        }
      }
      this.steps++;
      if (end - at >= length) {
        const start = at;
        at += length;
        this.steps++;
        this.#sink.onRecord(chunk, start, at);
      } else {
        this.#bodyLength = length;
        this.#bodyBytes = 0;
        this.#body = new Uint8Array(Math.min(length, FIRST_ALLOCATION));
      }
    }
  }

  #fillBody(chunk: Uint8Array, at: number): number {
    let body = this.#body!;
    const take = Math.min(this.#bodyLength - this.#bodyBytes, chunk.length - at);
    const needed = this.#bodyBytes + take;
    if (needed > body.length) {
      const grown = new Uint8Array(Math.min(this.#bodyLength, Math.max(needed, 2 * body.length)));
      grown.set(body.subarray(0, this.#bodyBytes));
      this.#body = body = grown;
    }
    body.set(chunk.subarray(at, at + take), this.#bodyBytes);
    this.#bodyBytes = needed;
    if (needed === this.#bodyLength) {
      this.#body = null;
      this.steps++;
      this.#sink.onRecord(body, 0, needed);
    }
    return at + take;
  }

  #refuse(length: number, header: Uint8Array): void {
    this.stop();
    this.#sink.onBadLength(length, this.maxBytes, header);
  }
}
