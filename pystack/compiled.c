/* pystack.compiled: all compiled modules of pystack, in the one file that a release build makes.
   Called by: onefile.
   RFCs: none; PEP 489. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* MODULE(name, its init function) for each; setup.py writes it. */
#define MODULE(name, init) PyMODINIT_FUNC init(void);
#include "compiled.h"
#undef MODULE

static const struct {
    const char *name;
    PyObject *(*init)(void);
} modules[] = {
#define MODULE(name, init) {name, init},
#include "compiled.h"
#undef MODULE
};

enum { COUNT = sizeof(modules) / sizeof(modules[0]) };

PyDoc_STRVAR(names_doc, "names() -> tuple[str, ...]: of the modules that are in here.");

static PyObject *names(PyObject *self, PyObject *nothing)
{
    PyObject *found = PyTuple_New(COUNT);
    (void)self;
    (void)nothing;
    for (Py_ssize_t i = 0; found != NULL && i < COUNT; i++) {
        PyObject *name = PyUnicode_FromString(modules[i].name);
        if (name == NULL)
            Py_CLEAR(found);
        else
            PyTuple_SET_ITEM(found, i, name);
    }
    return found;
}

PyDoc_STRVAR(create_doc, "create(spec) -> ModuleType: make the module of that name. ImportError.");

static PyObject *create(PyObject *self, PyObject *spec)
{
    PyObject *name = PyObject_GetAttrString(spec, "name");
    PyObject *definition = NULL;
    int found = 0;
    (void)self;
    if (name == NULL)
        return NULL;
    for (int i = 0; i < COUNT && !found; i++) {
        found = PyUnicode_CompareWithASCIIString(name, modules[i].name) == 0;
        if (found)
            definition = modules[i].init();
    }
    if (!found)
        PyErr_Format(PyExc_ImportError, "pystack has no compiled module %R", name);
    Py_DECREF(name);
    return definition == NULL ? NULL : PyModule_FromDefAndSpec((PyModuleDef *)definition, spec);
}

PyDoc_STRVAR(execute_doc, "execute(module) -> None: run the code of one that create has made.");

static PyObject *execute(PyObject *self, PyObject *module)
{
    PyModuleDef *definition = PyModule_GetDef(module);
    (void)self;
    if (definition == NULL && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%R is not compiled", module);
    if (definition == NULL || PyModule_ExecDef(module, definition) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"names", names, METH_NOARGS, names_doc},
    {"create", create, METH_O, create_doc},
    {"execute", execute, METH_O, execute_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "pystack.compiled",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_compiled(void)
{
    return PyModuleDef_Init(&definition);
}
