/**
 * The data of a CloudEvent, from either member that may hold it. Invariant: pure; bytes that are declared as JSON become
 * the JSON, others stay as they came beside their type, and nothing is guessed.
 */
import { PayloadError } from "../runtime/errors.ts";

/** The media type of JSON, alone or as the suffix of a more special one. */
const JSON_TYPE = /^application\/([a-z0-9.+-]+\+)?json *(;|$)/i;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** @throws {PayloadError} Both members are there, the text is no base64, or the bytes are not the JSON they are said to be. */
export function cloudData(event: Readonly<Record<string, unknown>>): unknown {
  const { data, data_base64: encoded, datacontenttype: type = "application/json" } = event;
  if (encoded === undefined) return data ?? null;
  if (data !== undefined) throw new PayloadError('The CloudEvent has "data" and "data_base64": send one of them');
  if (typeof encoded !== "string" || !BASE64.test(encoded))
    throw new PayloadError('The "data_base64" of the CloudEvent is no base64 text: encode it as RFC 4648 says');
  if (typeof type !== "string" || !JSON_TYPE.test(type)) return { datacontenttype: type, data_base64: encoded };
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(encoded, "base64")));
  } catch (cause) {
    throw new PayloadError(`The "data_base64" of the CloudEvent is no JSON: name what it is in "datacontenttype"`, {
      cause,
    });
  }
}
