/** What the twin's nodes say they are: releases seen on the public network and the overlay versions they announce. */
import { encodeText, toHex } from "../../overlay/base/bytes.ts";
import type { Random } from "../../overlay/base/random.ts";
import { sha256 } from "../../overlay/crypto/primitives.ts";

/** A release as HELLO shows it. */
export interface Release {
  versionStr: string;
  overlayVersion: number;
  overlayMinVersion: number;
  ledgerVersion: number;
}

/** A commit hash that belongs to a release text and to nothing else. */
function commit(release: string, length = 40): string {
  return toHex(sha256(encodeText(release))).slice(0, length);
}

function release(
  weight: number,
  versionStr: string,
  max: number,
  min: number,
  ledgerVersion: number,
): [number, Release] {
  return [weight, { versionStr, overlayVersion: max, overlayMinVersion: min, ledgerVersion }];
}

/** Releases with their share of the network, the most used first. */
const RELEASES: readonly [weight: number, release: Release][] = [
  release(40, `stellar-core 27.1.0 (${commit("27.1.0")})`, 42, 41, 27),
  release(28, `v26.1.0 (${commit("26.1.0")})`, 41, 38, 26),
  release(14, "v25.2.1", 40, 38, 25),
  release(6, `stellar-core 28.0.0rc1 (${commit("28.0.0rc1")})`, 42, 41, 28),
  release(5, `v22.3.0-2485.${commit("22.3.0", 9)}.focal`, 38, 35, 22),
  release(4, "henyey 0.4.2", 41, 38, 26),
  release(2, `v21.3.1 (${commit("21.3.1")})`, 35, 33, 21),
  release(1, `v26.1.0-dirty-\u00e9\u{1f680} (${commit("dirty")})`, 41, 38, 26),
];

/** The release that meets the window of every other but the oldest; seeds and validators run it. */
export const MEETS_MOST: Release = RELEASES[1][1];

/** A window that meets no released version. */
export const FUTURE_RELEASE: Release = {
  versionStr: `stellar-core 99.0.0 (${commit("99.0.0")})`,
  overlayVersion: 2001,
  overlayMinVersion: 2000,
  ledgerVersion: 99,
};

/** A release at random, by its share. */
export function pickRelease(random: Random): Release {
  let at = random.next() * RELEASES.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, found] of RELEASES) {
    at -= weight;
    if (at < 0) return found;
  }
  return MEETS_MOST;
}

/** Whether two nodes accept each other's overlay versions. Source: stellar-core Peer.cpp recvHello. */
export function windowsMeet(
  a: Pick<Release, "overlayVersion" | "overlayMinVersion">,
  b: Pick<Release, "overlayVersion" | "overlayMinVersion">,
): boolean {
  return a.overlayVersion >= b.overlayMinVersion && b.overlayVersion >= a.overlayMinVersion;
}
