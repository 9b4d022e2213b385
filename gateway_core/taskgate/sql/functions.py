"""Functions of `pg_catalog` that do nothing but compute from their arguments and from the catalogue.

Listed by name, all overloads of a name together. A function is not here when any overload reads a table by name or
text (`table_to_xml`, `query_to_xml`, `ts_stat`, `ts_rewrite`), reads files (`pg_read_file`, `lo_import`), shows other
sessions (`pg_stat_get_activity`) or statistics of values (`pg_mcv_list_items`), waits (`pg_sleep`), takes locks
(`pg_advisory_lock`), writes (`nextval`, `setval`, `lo_*`, `pg_notify`) or changes settings (`set_config`, which the
analysis treats as SET). What is not listed is `sql.call` and makes a statement incomplete, whatever its volatility.

`pg_advisory_unlock_all` is here: it lets go of the session's own locks and of nothing else, and pools of drivers call
it whenever a connection comes back.

Names that the grammar turns into nodes of their own (COALESCE, GREATEST, CURRENT_DATE, XMLELEMENT, JSON_VALUE, …) need
no entry.
"""

from __future__ import annotations

from typing import Final

SAFE: Final[frozenset[str]] = frozenset(
    """
    abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd
    degrees div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10 min_scale mod pi power pow radians
    random random_normal round scale sign sin sind sinh sqrt tan tand tanh trim_scale trunc width_bucket

    ascii bit_count bit_length btrim casefold char_length character_length chr concat concat_ws convert convert_from
    convert_to crc32 crc32c decode encode format get_bit get_byte initcap is_normalized left length like_escape lower
    lpad ltrim md5 normalize octet_length overlay parse_ident pg_client_encoding position quote_ident quote_literal
    quote_nullable regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad rtrim set_bit set_byte
    sha224 sha256 sha384 sha512 similar_escape similar_to_escape split_part starts_with string_to_array
    string_to_table strpos substr substring text textlen to_ascii to_bin to_hex to_oct translate unicode_assigned
    unicode_version unistr upper icu_unicode_version

    to_char to_date to_number to_timestamp age clock_timestamp date date_add date_bin date_part date_subtract
    date_trunc extract isfinite justify_days justify_hours justify_interval make_date make_interval make_time
    make_timestamp make_timestamptz now overlaps statement_timestamp timeofday timezone transaction_timestamp
    timestamp timestamptz time timetz interval

    bool bpchar bytea float4 float8 int2 int4 int8 numeric oid varchar name char money

    enum_first enum_last enum_range area box center circle diagonal diameter height isclosed isopen npoints path
    pclose point polygon popen radius slope width line lseg bound_box

    abbrev broadcast family host hostmask inet_merge inet_same_family masklen netmask network set_masklen
    macaddr8_set7bit cidr macaddr macaddr8

    array_to_tsvector get_current_ts_config numnode phraseto_tsquery plainto_tsquery querytree setweight strip
    to_tsquery to_tsvector json_to_tsvector jsonb_to_tsvector ts_delete ts_filter ts_headline ts_rank ts_rank_cd
    tsquery_phrase tsvector_to_array websearch_to_tsquery

    gen_random_uuid uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7

    xmlcomment xmlexists xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document xpath xpath_exists
    xmltext xml

    array_to_json json_array_elements json_array_elements_text json_array_length json_build_array json_build_object
    json_each json_each_text json_extract_path json_extract_path_text json_object json_object_keys
    json_populate_record json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_typeof
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each
    jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_keys
    jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array
    jsonb_path_query_array_tz jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz
    jsonb_populate_record jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls
    jsonb_to_record jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb

    array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_reverse array_sample array_shuffle array_sort array_to_string
    array_upper cardinality trim_array unnest

    isempty lower_inc lower_inf multirange range_merge upper_inc upper_inf int4range int8range numrange tsrange
    tstzrange daterange int4multirange int8multirange nummultirange tsmultirange tstzmultirange datemultirange

    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist
    dense_rank every first_value json_agg json_agg_strict json_object_agg json_object_agg_strict
    json_object_agg_unique json_object_agg_unique_strict jsonb_agg jsonb_agg_strict jsonb_object_agg
    jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict lag last_value lead max min mode
    nth_value ntile percent_rank percentile_cont percentile_disc range_agg range_intersect_agg rank regr_avgx
    regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy row_number stddev stddev_pop
    stddev_samp string_agg sum var_pop var_samp variance xmlagg

    generate_series generate_subscripts num_nonnulls num_nulls

    acldefault aclexplode makeaclitem col_description current_database current_query current_schema current_schemas
    current_setting current_user session_user format_type getdatabaseencoding has_any_column_privilege
    has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege has_function_privilege
    has_language_privilege has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege
    has_table_privilege has_tablespace_privilege has_type_privilege inet_client_addr inet_client_port
    inet_server_addr inet_server_port mxid_age obj_description oidvectortypes
    pg_available_extension_versions pg_available_extensions pg_backend_pid pg_basetype
    pg_char_to_encoding pg_collation_actual_version pg_collation_for pg_collation_is_visible pg_column_compression
    pg_column_is_updatable pg_column_size pg_conf_load_time pg_conversion_is_visible pg_current_snapshot
    pg_current_xact_id_if_assigned pg_database_size pg_describe_object pg_encoding_max_length pg_encoding_to_char
    pg_extension_update_paths pg_filenode_relation pg_function_is_visible pg_get_acl pg_get_catalog_foreign_keys
    pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments
    pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody pg_get_functiondef
    pg_get_indexdef pg_get_keywords pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef
    pg_get_replica_identity_index pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef
    pg_get_statisticsobjdef_columns pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid
    pg_get_viewdef pg_has_role pg_identify_object pg_identify_object_as_address pg_index_column_has_property
    pg_index_has_property pg_indexam_has_property pg_indexes_size pg_is_in_recovery pg_is_other_temp_schema
    pg_jit_available pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible
    pg_options_to_table pg_partition_ancestors pg_partition_root pg_partition_tree pg_postmaster_start_time
    pg_relation_filenode pg_relation_is_publishable pg_relation_is_updatable pg_relation_size pg_sequence_parameters
    pg_settings_get_flags pg_size_bytes pg_size_pretty pg_statistics_obj_is_visible pg_table_is_visible pg_table_size
    pg_tablespace_location pg_tablespace_size pg_total_relation_size pg_trigger_depth pg_ts_config_is_visible
    pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible pg_typeof
    row_security_active shobj_description system_user to_regclass to_regcollation to_regnamespace to_regoper
    to_regoperator to_regproc to_regprocedure to_regrole to_regtype to_regtypemod txid_current_if_assigned
    txid_current_snapshot version regclass

    pg_advisory_unlock_all

    hashtext hashtextextended hash_array hash_record
    """.split()
)

COUNTING: Final[frozenset[str]] = frozenset({"count"})
"""Aggregates whose result says nothing about the values of their argument: it may be masked and the count stands."""

MASKED_WHOLE: Final[frozenset[str]] = frozenset({"upper", "lower", "initcap", "btrim", "ltrim", "rtrim", "casefold"})
"""Functions of one argument that cannot fail, keep the characters in their order and give back a text of the same kind:
inside them a masked column counts as bare, because whatever mask applies to the column hides their result as well."""

HELPERS_OF_INFORMATION_SCHEMA: Final[frozenset[str]] = frozenset({
    "_pg_expandarray", "_pg_truetypid", "_pg_truetypmod", "_pg_char_max_length", "_pg_char_octet_length",
    "_pg_numeric_precision", "_pg_numeric_precision_radix", "_pg_numeric_scale", "_pg_datetime_precision",
    "_pg_interval_type", "_pg_index_position",
})  # fmt: skip
"""Functions of `information_schema` that drivers call by their full name (JDBC: `_pg_expandarray`)."""


def is_safe(schema: str, name: str) -> bool:
    """Whether `schema.name` is listed."""
    if schema == "pg_catalog":
        return name in SAFE
    return schema == "information_schema" and name in HELPERS_OF_INFORMATION_SCHEMA
