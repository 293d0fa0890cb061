import { oneByOne } from './one-by-one.ts';

export default oneByOne('van', { isMended: true });
