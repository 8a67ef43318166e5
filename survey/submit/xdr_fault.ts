/**
 * Where bytes stop being the XDR type they should be. stellar-base says that something is wrong, not where: this walks its
 * type descriptions along the bytes and names the field. Only used once decoding has failed.
 */

/** The part of stellar-base's cursor (`cereal.XdrReader`) that is used here. */
export interface XdrCursor {
  readInt32BE(): number;
  readUInt32BE(): number;
  readonly eof: boolean;
}

/** What a type description of stellar-base may hold, by the kind of type. */
export interface XdrType {
  read(cursor: XdrCursor): unknown;
  /** Of a struct. */
  _fields?: [name: string, type: XdrType][];
  /** Of a union. */
  _switchOn?: XdrType;
  armForSwitch?(value: unknown): unknown;
  armTypeForArm?(arm: unknown): XdrType;
  /** Of an array, a vector, an optional. */
  _childType?: XdrType;
  _length?: number;
  _maxLength?: number;
}

/** The first thing that is wrong. */
export interface XdrFault {
  /** Such as `v1.tx.operations[0].body`; `envelope` for the whole. */
  field: string;
  reason: string;
}

class Found extends Error {
  constructor(readonly fault: XdrFault) {
    super(fault.reason);
  }
}

/** The first fault of `type` at the cursor, its end included; undefined when there is none. */
export function findXdrFault(type: XdrType, cursor: XdrCursor): XdrFault | undefined {
  try {
    walk(type, cursor, "");
  } catch (error) {
    if (error instanceof Found) return error.fault;
    throw error;
  }
  return cursor.eof ? undefined : { field: "envelope", reason: "bytes are left over behind its end" };
}

function walk(type: XdrType, cursor: XdrCursor, path: string): void {
  if (type._fields !== undefined) {
    for (const [name, field] of type._fields) walk(field, cursor, path === "" ? name : `${path}.${name}`);
    return;
  }
  if (type._switchOn !== undefined) {
    const arm = at(path === "" ? "type" : `${path}.type`, () => type.armForSwitch!(type._switchOn!.read(cursor)));
    // An arm without a body has no name.
    if (typeof arm !== "string") return;
    walk(type.armTypeForArm!(arm), cursor, path === "" ? arm : `${path}.${arm}`);
    return;
  }
  const child = type._childType;
  if (child === undefined) {
    at(path, () => type.read(cursor));
    return;
  }
  if (type._maxLength === undefined && type._length === undefined) {
    const present = at(path, () => cursor.readInt32BE());
    if (present !== 0 && present !== 1) throw new Found({ field: path, reason: `${present} is neither 0 nor 1` });
    if (present === 1) walk(child, cursor, path);
    return;
  }
  const length = type._length ?? at(path, () => cursor.readUInt32BE());
  if (type._maxLength !== undefined && length > type._maxLength) {
    throw new Found({ field: path, reason: `${length} entries, at most ${type._maxLength} are allowed` });
  }
  for (let i = 0; i < length; i++) walk(child, cursor, `${path}[${i}]`);
}

function at<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Found({ field: field === "" ? "envelope" : field, reason: reasonOf(error) });
  }
}

/** What the library says, in our words where its own are obscure. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (/outside the boundary|out of (range|bounds)/i.test(text)) return "the bytes end before it does";
  return text.replace(/^XDR (Read|Write) Error: /, "").slice(0, 200);
}
