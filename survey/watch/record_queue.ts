/**
 * Records on their way to a reader that may be slow. SCP messages are not lost: while the queue is full their senders wait for
 * their credit, though not for long, because a peer without credit hangs up after a minute. Other messages are missed and
 * counted. What happens to connections is always told.
 */
import type { Clock, Timer } from "../../overlay/base/clock.ts";
import { MessageType, ReceivedMessage } from "../../overlay/wire/messages.ts";
import type { WatchRecord } from "./records.ts";

/** Records kept for a slow reader. */
export const QUEUE_RECORDS = 16_384;
/** Their bytes. */
export const QUEUE_BYTES = 32 * 1024 * 1024;
/** Longest wait of a sender, ms; then SCP messages are missed too until there is room. */
const PATIENCE_MS = 20_000;

/** Sizes of a queue. */
export interface RecordQueueOptions {
  clock: Clock;
  /** Which records are wanted; all when absent. */
  wants?: (record: WatchRecord) => boolean;
  maxRecords?: number;
  maxBytes?: number;
  patienceMs?: number;
  onClose?: () => void;
}

/** See the head of this file. Records out of it own their bytes. */
export class RecordQueue implements AsyncIterableIterator<WatchRecord> {
  readonly #options: RecordQueueOptions;
  readonly #maxRecords: number;
  readonly #maxBytes: number;
  /** BOUNDED: `maxRecords`, `maxBytes`; beyond them by the credit of the peers, see {@link PATIENCE_MS}, and by events. */
  #records: WatchRecord[] = [];
  #head = 0;
  #bytes = 0;
  /** Senders that wait. */
  #held: (() => void)[] = [];
  #patience: Timer | undefined;
  #impatient = false;
  #missed = 0;
  #missedInAll = 0;
  #reader: ((result: IteratorResult<WatchRecord>) => void) | undefined;
  #closed = false;

  constructor(options: RecordQueueOptions) {
    this.#options = options;
    this.#maxRecords = options.maxRecords ?? QUEUE_RECORDS;
    this.#maxBytes = options.maxBytes ?? QUEUE_BYTES;
  }

  /** Records missed since the start. */
  get missed(): number {
    return this.#missedInAll;
  }

  get length(): number {
    return this.#records.length - this.#head;
  }

  /** Offers a record. The promise, if there is one, resolves when its sender may go on. */
  push(record: WatchRecord): Promise<void> | undefined {
    if (this.#closed || this.#options.wants?.(record) === false) return undefined;
    const full = this.#isFull;
    if (record.kind !== "message") {
      this.#add(record, 0);
      return undefined;
    }
    const guarded = record.message.type === MessageType.scpMessage;
    if (full && (!guarded || this.#impatient)) {
      this.#missed++;
      this.#missedInAll++;
      return undefined;
    }
    const { type, bytes, receivedAtMs } = record.message;
    this.#add({ ...record, message: new ReceivedMessage(type, bytes.slice(), receivedAtMs) }, bytes.length);
    if (!full) return undefined;
    this.#patience ??= this.#options.clock.setTimer(this.#options.patienceMs ?? PATIENCE_MS, () => {
      this.#patience = undefined;
      this.#impatient = true;
      this.#release();
    });
    return new Promise((resolve) => this.#held.push(resolve));
  }

  next(): Promise<IteratorResult<WatchRecord>> {
    const record = this.#take();
    if (record !== undefined) return Promise.resolve({ value: record, done: false });
    if (this.#closed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => (this.#reader = resolve));
  }

  /** Ends it after what waits. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#patience?.cancel();
    this.#release();
    this.#reader?.({ value: undefined, done: true });
    this.#reader = undefined;
    this.#options.onClose?.();
  }

  /** Ends it and forgets what waits. */
  return(): Promise<IteratorResult<WatchRecord>> {
    this.close();
    this.#records = [];
    this.#head = this.#bytes = 0;
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get #isFull(): boolean {
    return this.length >= this.#maxRecords || this.#bytes >= this.#maxBytes;
  }

  #add(record: WatchRecord, bytes: number): void {
    const told = this.#missed;
    if (told > 0) {
      const { atMs, wallMs } = record;
      this.#missed = 0;
      this.#put({ kind: "missed", atMs, wallMs, records: told }, 0);
    }
    this.#put(record, bytes);
  }

  #put(record: WatchRecord, bytes: number): void {
    if (this.#reader !== undefined) {
      const reader = this.#reader;
      this.#reader = undefined;
      reader({ value: record, done: false });
      return;
    }
    this.#records.push(record);
    this.#bytes += bytes;
  }

  #take(): WatchRecord | undefined {
    if (this.length === 0) return undefined;
    const record = this.#records[this.#head];
    this.#records[this.#head++] = undefined as unknown as WatchRecord;
    if (record.kind === "message") this.#bytes -= record.bytes;
    if (this.#head > 1024 && this.#head * 2 > this.#records.length) {
      this.#records.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.length <= this.#maxRecords / 2 && this.#bytes <= this.#maxBytes / 2) {
      this.#impatient = false;
      if (this.#held.length > 0) {
        this.#patience?.cancel();
        this.#patience = undefined;
        this.#release();
      }
    }
    return record;
  }

  #release(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }
}
