import { create } from './create.ts';
import { respond } from './respond.ts';

export default [create, respond];
