import type { FirestoreDocument } from './firestore.ts';
import { beside } from './long-texts.ts';
import { type Fields, textOf } from './value.ts';

/** In characters of JSON. Of 512 MiB, the least that a container is given; each takes several bytes on its way. */
const jsonAtOnce = 32_000_000;
/** Of at most a megabyte each, of which nobody knows before how much of it they take. */
export const documentsAtOnce = 32;

/** How much is held at once of documents that are many, and may be large. What finds no room is left for another time. */
export class Room {
  #left = jsonAtOnce;

  /** The first of these that find room, each as long as there is some left: of the very first at least one. */
  take<T extends FirestoreDocument | undefined>(documents: readonly T[], field: keyof Fields): readonly T[] {
    const end = documents.findIndex((document) => {
      if (this.#left <= 0) return true;
      if (document) this.#left -= textOf(document.fields[field]).length;
      for (const { length } of beside(document)) this.#left -= length;
      return false;
    });
    return end === -1 ? documents : documents.slice(0, end);
  }
}
