/** What every Transport must do. tcp_test.ts and memory_test.ts run it over their own. */
import { test } from "node:test";
import assert from "node:assert/strict";
import type { Failure } from "../../overlay/base/errors.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import type {
  Endpoint,
  Listener,
  Socket,
  SocketEnd,
  SocketHandlers,
  Transport,
} from "../../overlay/transport/transport.ts";

/** One transport under test and the surroundings that it needs. */
export interface TransportHarness {
  transport: Transport;
  /** Host to listen on and to dial. */
  host: string;
  /** A transport and an address for it whose dial is never answered. */
  unanswered: { transport: Transport; to: Endpoint };
  /** Listens, and resets each stream once its first bytes have arrived; one byte is sent before if `answers`. */
  listenAndReset(answers: boolean): Promise<Listener>;
  /** Lets time pass until `work` is done. */
  run<T>(work: Promise<T>): Promise<T>;
  sleep(ms: number): Promise<void>;
}

/** A stream with everything that happened on it. */
export class Recorded {
  readonly chunks: Uint8Array[] = [];
  end: SocketEnd | undefined;
  ends = 0;
  #waiting: { until: () => boolean; go: () => void }[] = [];

  constructor(readonly socket: Socket) {
    socket.attach({
      onData: (chunk) => {
        assert.equal(this.end, undefined, "data after the end");
        this.chunks.push(chunk);
        this.#wake();
      },
      onEnd: (end) => {
        this.end = end;
        this.ends++;
        this.#wake();
      },
    });
  }

  get length(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get bytes(): Uint8Array {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const chunk of this.chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  /** Resolves when `until` holds; looked at whenever something happens. */
  when(until: () => boolean): Promise<void> {
    if (until()) return Promise.resolve();
    return new Promise((go) => this.#waiting.push({ until, go }));
  }

  received(n: number): Promise<void> {
    return this.when(() => this.length >= n);
  }

  async ended(): Promise<SocketEnd> {
    await this.when(() => this.end !== undefined);
    return this.end!;
  }

  #wake(): void {
    this.#waiting = this.#waiting.filter(({ until, go }) => !until() || void go());
  }
}

/** A stream whose other end is the test: it sees every write, and decides when the system took it. */
export class FakeSocket implements Socket {
  readonly remote: Endpoint;
  readonly local: Endpoint = { host: "10.0.0.1", port: 40_000 };
  /** Every write, in order. */
  readonly writes: Uint8Array[] = [];
  /** Writes the system has not taken. */
  readonly #pending: (() => void)[] = [];
  /** False: writes wait for {@link take}. */
  takes = true;
  paused = false;
  isShutdown = false;
  isDestroyed = false;
  #handlers: SocketHandlers | undefined;

  constructor(remote: Endpoint = { host: "10.0.0.2", port: 11625 }) {
    this.remote = remote;
  }

  attach(handlers: SocketHandlers): void {
    this.#handlers = handlers;
  }
  write(bytes: Uint8Array, onWritten?: () => void): void {
    assert.ok(!this.isShutdown && !this.isDestroyed, "written after the end");
    this.writes.push(bytes);
    this.#pending.push(() => onWritten?.());
    if (this.takes) queueMicrotask(() => this.take());
  }
  /** The system takes all that was written. */
  take(): void {
    for (const done of this.#pending.splice(0)) done();
  }
  get unsentBytes(): number {
    return this.#pending.length;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  shutdown(): void {
    this.isShutdown = true;
  }
  destroy(): void {
    this.isDestroyed = true;
  }
  /** The remote sends. */
  feed(bytes: Uint8Array): void {
    if (!this.isDestroyed) this.#handlers!.onData(bytes);
  }
  /** The remote ends it. */
  end(end: SocketEnd = { how: "eof", reason: "" }): void {
    if (!this.isDestroyed) this.#handlers!.onEnd(end);
  }
}

/** Dials and waits for the outcome; a socket is recorded from its first moment. */
export function dial(transport: Transport, to: Endpoint, timeoutMs = 5000): Promise<Recorded | Failure> {
  return new Promise((resolve) => {
    let outcomes = 0;
    const once = (outcome: Recorded | Failure) => {
      assert.equal(++outcomes, 1, "one outcome per dial");
      resolve(outcome);
    };
    transport.dial(to, { timeoutMs }, {
      onConnect: (socket) => once(new Recorded(socket)),
      onFail: (failure) => once(failure),
    });
    assert.equal(outcomes, 0, "no outcome inside dial()");
  });
}

/** Registers the tests. `make` is called once per test. */
export function testTransport(name: string, make: () => TransportHarness): void {
  /** A connected pair: the caller's side and the side that was called. */
  async function pair(harness: TransportHarness): Promise<{ near: Recorded; far: Recorded; listener: Listener }> {
    const accepted: Recorded[] = [];
    let go = () => {};
    const came = new Promise<void>((resolve) => go = resolve);
    const listener = await harness.transport.listen({ host: harness.host, port: 0 }, (socket) => {
      accepted.push(new Recorded(socket));
      go();
    });
    const near = await dial(harness.transport, listener.address);
    assert.ok(near instanceof Recorded);
    await came;
    return { near, far: accepted[0], listener };
  }

  function check(what: string, body: (harness: TransportHarness) => Promise<void>): void {
    test(`${name} ${what}`, async () => {
      const harness = make();
      await harness.run(body(harness));
    });
  }

  check("connects, and both ends know both addresses", async (harness) => {
    const { near, far, listener } = await pair(harness);
    assert.deepEqual(near.socket.remote, listener.address);
    assert.equal(near.socket.local.host, harness.host);
    assert.deepEqual(far.socket.remote, near.socket.local);
    assert.deepEqual(far.socket.local, listener.address);
    near.socket.destroy();
    far.socket.destroy();
    await listener.close();
  });

  check("fails with connect_refused where nobody listens", async (harness) => {
    const listener = await harness.transport.listen({ host: harness.host, port: 0 }, () => {});
    await listener.close();
    const outcome = await dial(harness.transport, listener.address);
    const { host, port } = listener.address;
    assert.deepEqual(outcome, { code: "connect_refused", address: `${host}:${port}` });
  });

  check("fails with connect_timeout when nothing answers", async (harness) => {
    const { transport, to } = harness.unanswered;
    const outcome = await dial(transport, to, 300);
    assert.deepEqual(outcome, { code: "connect_timeout", address: `${to.host}:${to.port}`, afterMs: 300 });
  });

  check("calls no handler of a dial that was cancelled", async (harness) => {
    const accepted: Recorded[] = [];
    const listener = await harness.transport.listen(
      { host: harness.host, port: 0 },
      (socket) => void accepted.push(new Recorded(socket)),
    );
    let calls = 0;
    const dialing = harness.transport.dial(listener.address, { timeoutMs: 100 }, {
      onConnect: () => calls++,
      onFail: () => calls++,
    });
    dialing.cancel();
    dialing.cancel();
    await harness.sleep(150);
    assert.equal(calls, 0);
    for (const { socket } of accepted) socket.destroy();
    await listener.close();
  });

  check("carries bytes both ways in order, and tells when they were taken", async (harness) => {
    const { near, far, listener } = await pair(harness);
    let written = 0;
    let inside = true;
    for (let i = 0; i < 50; i++) {
      near.socket.write(new Uint8Array(100).fill(i), () => {
        assert.ok(!inside, "not inside write()");
        written++;
        near.when(() => true);
      });
    }
    inside = false;
    await far.received(5000);
    assert.deepEqual(far.bytes, Uint8Array.from({ length: 5000 }, (_, i) => Math.floor(i / 100)));
    far.socket.write(Uint8Array.of(1, 2, 3));
    await near.received(3);
    assert.deepEqual([...near.bytes], [1, 2, 3]);
    await harness.sleep(20);
    assert.equal(written, 50);
    assert.equal(near.socket.unsentBytes, 0);
    near.socket.destroy();
    await far.ended();
    await listener.close();
  });

  check("gives chunks that are not reused", async (harness) => {
    const { near, far, listener } = await pair(harness);
    for (let i = 1; i <= 10; i++) {
      near.socket.write(new Uint8Array(64).fill(i));
      await far.received(64 * i);
    }
    assert.deepEqual(far.bytes, Uint8Array.from({ length: 640 }, (_, i) => 1 + Math.floor(i / 64)));
    near.socket.destroy();
    far.socket.destroy();
    await listener.close();
  });

  check("ends with eof when the remote read what we sent and closed", async (harness) => {
    const { near, far, listener } = await pair(harness);
    near.socket.write(new Uint8Array(300));
    await far.received(300);
    far.socket.shutdown();
    assert.deepEqual(await near.ended(), { how: "eof", reason: "" });
    assert.equal((await far.ended()).how, "eof");
    await harness.sleep(20);
    assert.deepEqual([near.ends, far.ends], [1, 1]);
    await listener.close();
  });

  check("ends with eof after the bytes that came before it", async (harness) => {
    const { near, far, listener } = await pair(harness);
    far.socket.write(new Uint8Array(1000).fill(9));
    far.socket.shutdown();
    assert.deepEqual(await near.ended(), { how: "eof", reason: "" });
    assert.equal(near.length, 1000);
    await listener.close();
  });

  check("ends with unread when the remote closed without reading", async (harness) => {
    const listener = await harness.transport.listen({ host: harness.host, port: 0 }, (socket) => socket.destroy());
    for (let round = 0; round < 3; round++) {
      const near = await dial(harness.transport, listener.address);
      // The remote may be gone before the dial's outcome is known; that is an answer as well.
      if (!(near instanceof Recorded)) continue;
      near.socket.write(new Uint8Array(300));
      assert.equal((await near.ended()).how, "unread");
    }
    await listener.close();
  });

  check("ends with unread when the remote reset it before the first byte", async (harness) => {
    const listener = await harness.listenAndReset(false);
    const near = await dial(harness.transport, listener.address);
    assert.ok(near instanceof Recorded);
    near.socket.write(new Uint8Array(300));
    const end = await near.ended();
    assert.deepEqual(end, { how: "unread", reason: "ECONNRESET" });
    await listener.close();
  });

  check("ends with reset when the remote reset it later", async (harness) => {
    const listener = await harness.listenAndReset(true);
    const near = await dial(harness.transport, listener.address);
    assert.ok(near instanceof Recorded);
    near.socket.write(new Uint8Array(300));
    const end = await near.ended();
    assert.deepEqual(end, { how: "reset", reason: "ECONNRESET" });
    assert.equal(near.length, 1);
    await listener.close();
  });

  check("holds bytes back while paused", async (harness) => {
    const { near, far, listener } = await pair(harness);
    far.socket.pause();
    near.socket.write(new Uint8Array(100_000).fill(7));
    await harness.sleep(60);
    const early = far.length;
    assert.equal(early, 0);
    far.socket.resume();
    assert.equal(far.length, early, "nothing inside resume()");
    await far.received(100_000);
    assert.ok(far.bytes.every((byte) => byte === 7));
    near.socket.destroy();
    await far.ended();
    await listener.close();
  });

  check("closes our direction with shutdown and still sends what was written", async (harness) => {
    const { near, far, listener } = await pair(harness);
    near.socket.write(new Uint8Array(200_000).fill(5));
    near.socket.shutdown();
    near.socket.shutdown();
    near.socket.write(Uint8Array.of(1));
    assert.deepEqual(await far.ended(), { how: "eof", reason: "" });
    assert.equal(far.length, 200_000);
    assert.equal((await near.ended()).how, "eof");
    await listener.close();
  });

  check("calls nothing after destroy", async (harness) => {
    const { near, far, listener } = await pair(harness);
    far.socket.write(new Uint8Array(100));
    let written = false;
    near.socket.write(new Uint8Array(100), () => written = true);
    near.socket.destroy();
    near.socket.destroy();
    near.socket.write(Uint8Array.of(1));
    near.socket.shutdown();
    near.socket.pause();
    near.socket.resume();
    await far.ended();
    await harness.sleep(30);
    assert.equal(near.ends, 0);
    assert.equal(near.length, 0);
    assert.equal(written, false);
    await listener.close();
  });

  check("listens on a port once", async (harness) => {
    const listener = await harness.transport.listen({ host: harness.host, port: 0 }, () => {});
    assert.ok(listener.address.port > 0);
    await assert.rejects(harness.transport.listen(listener.address, () => {}), isFailure("port_in_use"));
    await listener.close();
    const again = await harness.transport.listen(listener.address, () => {});
    await again.close();
  });

  check("keeps accepted streams when the listener closes", async (harness) => {
    const { near, far, listener } = await pair(harness);
    await listener.close();
    near.socket.write(Uint8Array.of(1, 2));
    await far.received(2);
    const outcome = await dial(harness.transport, listener.address);
    assert.ok(!(outcome instanceof Recorded) && outcome.code === "connect_refused");
    near.socket.destroy();
    await far.ended();
  });
}
