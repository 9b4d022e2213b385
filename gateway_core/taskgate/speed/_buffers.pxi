# Output buffers that grow.

cdef struct Output:
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t room
    PyObject* bytes  # where `data` is that of a bytes object, which the caller began and finishes; else NULL


cdef struct Places:  # where each byte of a view stands in its cell; data is NULL while nobody asks
    int32_t* data
    Py_ssize_t size
    Py_ssize_t room
    bint wanted


cdef inline int reserve(Output* out, Py_ssize_t more) except -1:
    return grow(out, more) if out.size + more > out.room else 0


cdef int grow(Output* out, Py_ssize_t more) except -1:
    cdef Py_ssize_t room = (out.size + more) * 3 // 2 + 256
    cdef unsigned char* data
    if out.bytes != NULL:
        _PyBytes_Resize(&out.bytes, room)
        data = <unsigned char*>PyBytes_AS_STRING(<object>out.bytes)
    else:
        data = <unsigned char*>realloc(out.data, room)
        if data == NULL:
            raise MemoryError()
    out.data = data
    out.room = room
    return 0


cdef int begin_bytes(Output* out, Py_ssize_t room) except -1:
    """Whatever is put out from now on will be a bytes object: no copy in the end."""
    cdef bytes target = PyBytes_FromStringAndSize(NULL, room)
    Py_INCREF(target)
    out.bytes = <PyObject*>target
    out.data = <unsigned char*>PyBytes_AS_STRING(target)
    out.room = room
    out.size = 0
    return 0


cdef bytes finish_bytes(Output* out):
    cdef bytes result
    _PyBytes_Resize(&out.bytes, out.size)
    result = <bytes>out.bytes
    drop_bytes(out)
    return result


cdef inline void drop_bytes(Output* out) noexcept:
    """The caller's reference; NULL where an allocation failed, or there is none."""
    Py_XDECREF(out.bytes)
    out.bytes = NULL


cdef int place(Places* places, Py_ssize_t at) except -1:
    cdef Py_ssize_t room
    cdef int32_t* data
    if places.size == places.room:
        room = places.room * 2 + 256
        data = <int32_t*>realloc(places.data, room * sizeof(int32_t))
        if data == NULL:
            raise MemoryError()
        places.data = data
        places.room = room
    places.data[places.size] = <int32_t>at
    places.size += 1
    return 0


cdef inline int put(Output* out, Places* places, unsigned char byte, Py_ssize_t at) except -1:
    """The caller has reserved room in `out`."""
    out.data[out.size] = byte
    out.size += 1
    if places.wanted:
        place(places, at)
    return 0
