// Before all other modules: no name that a tenant chose can come to be a property of every object, should one ever be
// used as a key. Not Object.freeze: preact gives objects a "constructor" of their own, which that would forbid.
Object.preventExtensions(Object.prototype);
