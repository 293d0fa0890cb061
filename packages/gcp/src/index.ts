export { Firestore, FirestoreError, type FirestoreOptions } from './firestore.ts';
export { FirestoreStateStore, type FirestoreStateStoreOptions } from './state-store.ts';
