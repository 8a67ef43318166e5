/** Where connections report what a whole node counts. Every call is on the way of a message: an implementation only adds numbers. */

/** The queues of flow control, in the order they are served. */
export const QUEUE_NAMES = ["scp", "txs", "demand", "advert"] as const;
/** Name of a queue, as upstream's `outbound_queue_delay_*` has it. */
export type QueueName = typeof QUEUE_NAMES[number];

/** Told about the traffic of all connections of a node. Bytes are those of StellarMessages; times are ms. */
export interface TrafficMeter {
  /** A message passed the checks of its frame. */
  read(type: number, bytes: number): void;
  /** A message was handed to the writer. */
  written(type: number, bytes: number): void;
  /** A chunk was read from a socket. */
  socketRead(): void;
  /** A write was handed to a socket; its first message had waited for `queuedMs`. */
  socketWrite(queuedMs: number): void;
  /** The system took a whole write. */
  socketWritten(tookMs: number): void;
  /** A flood message waited `ms` for the peer's credit. */
  queueDelay(queue: QueueName, ms: number): void;
  /** A ping was answered. */
  pinged(rttMs: number): void;
}
