/**
 * Mutations of valid messages: decoding gives a value that encodes to the very same bytes, or fails with `xdr_invalid`.
 * FUZZ_COUNT sets how many, FUZZ_SEED repeats a run.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { OverlayError } from "../../overlay/base/errors.ts";
import { concatBytes, readUint32, toHex, writeUint32 } from "../../overlay/base/bytes.ts";
import { SeededRandom } from "../../overlay/base/random.ts";
import { type Codec, decode, encode } from "../../overlay/wire/xdr.ts";
import { encodeStellarValue, type ScpQuorumSet, stellarValue } from "../../overlay/wire/types.ts";
import { surveyResponseBody } from "../../overlay/wire/survey_messages.ts";
import { decodeMessage, encodeMessage, MessageType, stellarMessage } from "../../overlay/wire/messages.ts";
import { arbMessages, arbStellarValue, arbSurveyTopology } from "../kit/arbitrary.ts";
import { allSessions, splitFrame } from "../kit/fixtures.ts";

const COUNT = Number(process.env.FUZZ_COUNT ?? 1_000_000);
const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32));
/** Growth of the process that is still no leak: both runtimes let garbage wait, and other tests share the process. */
const MAX_GROWTH_BYTES = 1024 * 2 ** 20;
/** Longest message of the ordinary corpus; longer ones come once in `BIG_EVERY`. */
const SMALL_BYTES = 600;
const BIG_EVERY = 1000;

interface Sample {
  // deno-lint-ignore no-explicit-any
  codec: Codec<any>;
  bytes: Uint8Array;
}

function corpus(seed: number): { small: Sample[][]; big: Sample[] } {
  const small: Sample[][] = [];
  const big: Sample[] = [];
  const add = (samples: Sample[]) => {
    const short = samples.filter((s) => s.bytes.length <= SMALL_BYTES);
    if (short.length > 0) small.push(short);
    big.push(...samples.filter((s) => s.bytes.length > SMALL_BYTES));
  };
  for (const arb of Object.values(arbMessages)) {
    add(fc.sample(arb, { seed, numRuns: 40 }).map((m) => ({ codec: stellarMessage, bytes: encodeMessage(m) })));
  }
  add(
    fc.sample(arbStellarValue, { seed, numRuns: 40 }).map((v) => ({
      codec: stellarValue,
      bytes: encodeStellarValue(v),
    })),
  );
  add(
    fc.sample(arbSurveyTopology, { seed, numRuns: 20 }).map((v) => ({
      codec: surveyResponseBody,
      bytes: encode(surveyResponseBody, v),
    })),
  );
  const recorded = new Map<string, Sample[]>();
  for (const session of allSessions()) {
    for (const frame of session.frames) {
      let samples = recorded.get(frame.type);
      if (samples === undefined) recorded.set(frame.type, samples = []);
      if (samples.length < 100) samples.push({ codec: stellarMessage, bytes: splitFrame(frame.bytes).message });
    }
  }
  for (const samples of recorded.values()) add(samples);

  const hashes = Array.from({ length: 1000 }, (_, i) => new Uint8Array(32).fill(i));
  const deep: ScpQuorumSet = { threshold: 1, validators: [], innerSets: [] };
  for (let set = deep, i = 1; i < 750; i++) set.innerSets.push(set = { threshold: i, validators: [], innerSets: [] });
  big.push(
    { codec: stellarMessage, bytes: encodeMessage({ type: "floodAdvert", txHashes: hashes }) },
    {
      codec: stellarMessage,
      bytes: encodeMessage({ type: "scpQuorumset", qSet: { threshold: 667, validators: hashes, innerSets: [] } }),
    },
    { codec: stellarMessage, bytes: encodeMessage({ type: "scpQuorumset", qSet: deep }) },
    {
      codec: stellarMessage,
      bytes: encodeMessage({
        type: "peers",
        peers: hashes.slice(0, 100).map((h) => ({ ip: h.subarray(0, 16), port: 11625, numFailures: 0 })),
      }),
    },
  );
  return { small, big };
}

const LENGTHS = [
  0,
  1,
  2,
  3,
  4,
  5,
  6,
  7,
  16,
  25,
  26,
  64,
  65,
  100,
  101,
  1000,
  1001,
  0x7fffffff,
  0x80000000,
  0xfffffffc,
  0xffffffff,
];

/** A changed copy of `bytes`; `other` is what a splice continues with. */
function mutate(random: SeededRandom, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (let times = random.next() < 0.7 ? 1 : 1 + random.int(4); times > 0; times--) {
    const at = random.int(out.length);
    switch (random.int(8)) {
      case 0: // one bit
        if (out.length > 0) out[at] ^= 1 << random.int(8);
        break;
      case 1: // one byte
        if (out.length > 0) out[at] = random.int(256);
        break;
      case 2: // a length, count, flag or discriminant
      case 3:
        if (out.length >= 4) {
          const word = 4 * random.int(out.length >> 2);
          const near = readUint32(out, word) + random.int(9) - 4;
          writeUint32(out, word, random.next() < 0.5 ? LENGTHS[random.int(LENGTHS.length)] : near);
        }
        break;
      case 4: // cut the end, mostly between words
        out = out.slice(0, random.next() < 0.3 ? at : at & ~3);
        break;
      case 5: { // cut some words, or bytes, out
        const step = random.next() < 0.2 ? 1 : 4;
        const from = Math.floor(at / step) * step;
        out = concatBytes(out.subarray(0, from), out.subarray(from + step * (1 + random.int(4))));
        break;
      }
      case 6: { // insert some words, or bytes
        const step = random.next() < 0.2 ? 1 : 4;
        const from = Math.floor(at / step) * step;
        const inserted = random.next() < 0.5
          ? new Uint8Array(step * (1 + random.int(4)))
          : random.bytes(step * (1 + random.int(4)));
        out = concatBytes(out.subarray(0, from), inserted, out.subarray(from));
        break;
      }
      default: // continue with another message
        out = concatBytes(out.subarray(0, at & ~3), other.subarray(4 * random.int(other.length >> 2)));
    }
  }
  return out;
}

/**
 * The only bytes that decoding accepts and encoding does not repeat: a flag that is neither 0 nor 1 reads as true and is
 * written as 1, as upstream does. Flags are SCPStatement.prepare's two optional ballots and a survey's isValidator.
 */
function checkSame(sample: Sample, input: Uint8Array, output: Uint8Array): "same" | "lenient" {
  let differing = 0;
  let same = input.length === output.length;
  for (let i = 0; same && i < input.length; i += 4) {
    if (
      input[i] === output[i] && input[i + 1] === output[i + 1] && input[i + 2] === output[i + 2] &&
      input[i + 3] === output[i + 3]
    ) {
      continue;
    }
    differing++;
    same = readUint32(output, i) === 1 && readUint32(input, i) !== 0;
  }
  if (same && differing === 0) return "same";
  let flags = 0;
  if (sample.codec === surveyResponseBody) flags = 1;
  else if (sample.codec === stellarMessage) {
    const message = decodeMessage(input);
    if (message.type === "scpMessage" && message.envelope.statement.pledges.type === "prepare") {
      const { prepared, preparedPrime } = message.envelope.statement.pledges.prepare;
      flags = Number(prepared !== null) + Number(preparedPrime !== null);
    }
  }
  assert.ok(same && differing <= flags, `encodes to ${toHex(output)}`);
  return "lenient";
}

test(`${COUNT} mutated messages decode to what encodes the same, or fail as xdr_invalid`, { timeout: 600_000 }, () => {
  console.log(`wire fuzz: FUZZ_SEED=${SEED} FUZZ_COUNT=${COUNT}`);
  const random = new SeededRandom(SEED);
  const { small, big } = corpus(SEED | 0);
  const pick = () => {
    if (random.int(BIG_EVERY) === 0) return big[random.int(big.length)];
    const samples = small[random.int(small.length)];
    return samples[random.int(samples.length)];
  };
  for (const { codec, bytes } of [...small.flat(), ...big]) {
    assert.deepEqual(encode(codec, decode(codec, bytes)), bytes);
  }

  const before = process.memoryUsage();
  let peakRss = 0;
  let slowestMs = 0;
  const outcome = { same: 0, lenient: 0, refused: 0 };
  const startedAt = performance.now();
  for (let i = 0; i < COUNT; i++) {
    const sample = pick();
    const input = mutate(random, sample.bytes, pick().bytes);
    // Large ones and every hundredth are timed: reading the clock costs as much as decoding.
    const timedAt = i % 100 === 0 || input.length > 2000 ? performance.now() : 0;
    try {
      let value: unknown;
      try {
        value = decode(sample.codec, input);
      } catch (error) {
        assert.ok(error instanceof OverlayError && error.code === "xdr_invalid", `decode threw ${error}`);
        outcome.refused++;
        continue;
      } finally {
        if (timedAt > 0) slowestMs = Math.max(slowestMs, performance.now() - timedAt);
      }
      outcome[checkSame(sample, input, encode(sample.codec, value))]++;
    } catch (error) {
      throw new Error(`FUZZ_SEED=${SEED}, mutation ${i}, input ${toHex(input)}`, { cause: error });
    }
    if (i % 50_000 === 0) peakRss = Math.max(peakRss, process.memoryUsage().rss);
  }
  const after = process.memoryUsage();
  peakRss = Math.max(peakRss, after.rss);
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  console.log(
    `wire fuzz: ${JSON.stringify(outcome)} in ${Math.round(performance.now() - startedAt)} ms, slowest ${
      slowestMs.toFixed(1)
    } ms, ` +
      `rss +${mib(peakRss - before.rss)}, heap +${mib(after.heapUsed - before.heapUsed)}`,
  );
  if (COUNT >= 10_000) {
    assert.ok(outcome.same > COUNT / 20 && outcome.refused > COUNT / 20, "both outcomes are common");
    assert.ok(outcome.lenient > 0, "the lenient flags are met");
  }
  assert.ok(slowestMs < 2000, `one message took ${slowestMs} ms`);
  assert.ok(peakRss - before.rss < MAX_GROWTH_BYTES, `rss grew by ${mib(peakRss - before.rss)} (FUZZ_SEED=${SEED})`);
  assert.ok(
    after.heapUsed - before.heapUsed < MAX_GROWTH_BYTES,
    `the heap grew by ${mib(after.heapUsed - before.heapUsed)} (FUZZ_SEED=${SEED})`,
  );
});

test("a record of 16 MiB costs memory in proportion and little time", { timeout: 120_000 }, () => {
  const size = 16 * 2 ** 20;
  const head = (type: number, ...numbers: number[]) => {
    const bytes = new Uint8Array(size);
    [type, ...numbers].forEach((n, i) => writeUint32(bytes, 4 * i, n));
    return bytes;
  };
  // Empty votes are the smallest entries there are: four million of them.
  const votes = head(MessageType.scpMessage);
  const at = 4 + 36 + 8;
  writeUint32(votes, at, 3);
  writeUint32(votes, at + 36, (size - at - 40 - 8) / 4);
  // Empty inner sets are the smallest structures.
  const sets = head(MessageType.scpQuorumset, 1, 0, Math.floor((size - 16) / 12));
  const hostile = {
    votes,
    sets,
    counts: head(MessageType.scpQuorumset, 1, 0xffffffff),
    advert: head(MessageType.floodAdvert, 0x7fffffff),
  };
  for (const [name, bytes] of Object.entries(hostile)) {
    const before = process.memoryUsage().rss;
    const startedAt = performance.now();
    try {
      decodeMessage(bytes);
    } catch (error) {
      assert.ok(error instanceof OverlayError && error.code === "xdr_invalid", String(error));
    }
    const grown = process.memoryUsage().rss - before;
    console.log(
      `wire fuzz: 16 MiB of ${name}: ${Math.round(performance.now() - startedAt)} ms, rss +${
        Math.round(grown / 2 ** 20)
      } MiB`,
    );
    // Each empty quorum set of 12 bytes becomes an object with two arrays, before any garbage is collected.
    assert.ok(grown < 100 * size, `${name}: rss grew by ${grown} bytes`);
    assert.ok(performance.now() - startedAt < 10_000, `${name} took too long`);
  }
});
